"""How a verb ends that nobody reads, or that was told to stop: by the shells' conventions, without a traceback. Part of
`cli`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

STOPPED, NOT_READ = 130, 141
"128 + SIGINT, 128 + SIGPIPE: what shells say of a program that a signal ended, and scripts know from other programs."

WRITERS = frozenset({"click.utils", "rich.console"})


@contextmanager
def ending() -> Iterator[None]:
    """Ctrl-C is quiet and 130; a reader that has left (`| head -1`) is quiet and 141; a standard output that takes
    nothing (`> FILE` on a full disk) is said, and 1. Any other OSError is none of the output's, and goes on."""
    try:
        yield
    except KeyboardInterrupt:
        _stop()
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):  # at a question
            _stop()
        raise
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends the program itself
            sys.exit(NOT_READ)
        raise
    except OSError as error:
        if not _is_of_output(error):
            raise
        _drop_rest()
        if isinstance(error, BrokenPipeError):
            sys.exit(NOT_READ)
        with suppress(OSError):
            click.echo(f"bootstrapper: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


def _stop() -> None:
    if sys.stderr.isatty():
        click.echo(err=True)  # the terminal has written ^C, and the shell's prompt would follow it
    sys.exit(STOPPED)


def _is_of_output(error: OSError) -> bool:
    """Whether what failed last was one of the writers of all our output, on its stream. The stream itself may not know:
    unbuffered (PYTHONUNBUFFERED), it keeps nothing that could fail again."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__") in WRITERS


def _drop_rest() -> None:
    """The interpreter flushes at its end, and would complain once more."""
    with suppress(OSError):  # a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
