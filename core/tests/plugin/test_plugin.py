import inspect

import perfopt.plugin
import perfopt.testing
from perfopt.plugin.hookspecs import PluginSpec


def test_everything_that_is_promised_is_there_and_documented():
    for module in (perfopt.plugin, perfopt.testing):
        for name in module.__all__:
            promised = getattr(module, name)
            if inspect.isclass(promised) or inspect.isfunction(promised):
                assert inspect.getdoc(promised), name


def test_every_hook_is_prefixed_and_documented():
    hooks = [member for name, member in inspect.getmembers(PluginSpec, inspect.isfunction)]
    assert hooks
    for hook in hooks:
        assert hook.__name__.startswith("perfopt_")
        assert inspect.getdoc(hook)
