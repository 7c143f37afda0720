"""Follows runs into a log file, adds a report section and a command."""

import json
import os
from pathlib import Path

import typer

from icrl_registry.hooks import hookimpl

LOG_VARIABLE = "ICRL_THIRD_PARTY_LOG"


def log(line):
    if LOG_VARIABLE in os.environ:
        with Path(os.environ[LOG_VARIABLE]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@hookimpl
def icrl_progress(event):
    log({"progress": event["event"]})


@hookimpl
def icrl_result(record):
    log({"result": record["run_id"]})


@hookimpl
def icrl_report_sections(rows):
    return [("From outside", f"There are **{len(rows)}** rows.")]


def greet():
    """Say that the plugin is there."""
    typer.echo("hello from outside")


@hookimpl
def icrl_commands():
    return [("greet", greet)]
