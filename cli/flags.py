"""Parameters of the library, as the command line spells them."""

from __future__ import annotations

import re

import click


def with_flags(message: str, group: click.Group) -> str:
    """``message`` with the parameters that it names in backquotes as flags of the commands in ``group``.

    ```rgb_range``` becomes ``--rgb-range``, and ```no_resume``` ``--no-resume``; what no command has stays as it is.
    """
    options = [
        option for command in group.commands.values() for option in command.params if isinstance(option, click.Option)
    ]
    flags = {option.name: _long(option) for option in options}
    for option in options:
        flags |= {each.lstrip("-").replace("-", "_"): each for each in option.secondary_opts}
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), message)


def _long(option: click.Option) -> str:
    """The name that it goes by: the first that is a word."""
    return next((each for each in option.opts if each.startswith("--")), option.opts[-1])
