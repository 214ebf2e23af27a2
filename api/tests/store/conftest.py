from datetime import timedelta

import pytest

from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.work import PostgresWorkStore


@pytest.fixture
def store(database):
    return PostgresStore(database)


@pytest.fixture
def work(database):
    return PostgresWorkStore(database, base_url="https://perfopt.example")


@pytest.fixture
def lease():
    return timedelta(seconds=30)
