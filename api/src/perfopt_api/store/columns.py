"""What the tables share: their metadata and the columns that most have."""

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    MetaData,
    String,
    Uuid,
    func,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def instant(name: str, *, required: bool = False) -> Column[object]:
    """Returns a column of an instant in UTC."""
    return Column(name, DateTime(timezone=True), nullable=not required)


def created_at() -> Column[object]:
    """Returns the column of when a row was written."""
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def uuid_key() -> Column[object]:
    """Returns a primary key that the database makes."""
    return Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid())


def key_of(name: str, of: Column[str]) -> Column[str]:
    """Returns a primary key that refers to another table and goes with its row."""
    return Column(name, String(100), ForeignKey(of, ondelete="CASCADE"), primary_key=True)
