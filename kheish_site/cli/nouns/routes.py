"""`routes`: named ways to a model."""

from __future__ import annotations

from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, assignments, declined, given
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import ROUTE, show_gone, show_list, show_one


def list_routes(context: Context) -> None:
    show_list(context, ROUTE, path("routes"))


def get(context: Context) -> None:
    show_one(context, ROUTE, context.client.get(path("routes", context.args.route_id)))


def create(context: Context) -> None:
    body = {"route_id": context.args.route_id, **_fields(context)}
    show_one(context, ROUTE, context.client.request("POST", path("routes"), body))


def update(context: Context) -> None:
    body = _fields(context)
    if not body:
        raise UsageError("nothing to change", cure="See: routes update --help")
    show_one(context, ROUTE, context.client.change(path("routes", context.args.route_id), body))


def set_default(context: Context) -> None:
    show_one(context, ROUTE, context.client.change(path("routes", context.args.route_id), {"default": True}))


def delete(context: Context) -> int:
    route_id = context.args.route_id
    if context.interactive and not context.confirm(f"Delete the route {route_id}?"):
        return declined(context)
    context.client.change(path("routes", route_id), None, method="DELETE")
    show_gone(context, "deleted", route_id=route_id)
    return Exit.OK


def _fields(context: Context) -> dict[str, Any]:
    args = context.args
    body = given(args, "driver", "model", "auth_ref", base_url="endpoint")
    if args.fallback:
        body["fallbacks"] = args.fallback
    if args.option:
        body["options"] = assignments(args.option, what="--option")
    if args.default:
        body["default"] = True
    return body


ROUTE_ID = arg("route_id", metavar="ROUTE", help="id of the route")
FIELDS = (
    arg("--endpoint", metavar="URL", help="base URL of an OpenAI-compatible server"),
    arg("--auth-ref", metavar="SLOT", help="secret slot that holds the key"),
    arg(
        "--fallback", metavar="ROUTE", action="append", help="next route when this one fails; may be repeated"
    ),
    arg(
        "--option",
        metavar="KEY=JSON",
        action="append",
        help="an option (docs/operations.md lists them); may be repeated",
    ),
    arg("--default", action="store_true", help="use it where nothing else is said"),
)
DRIVER = arg("--driver", metavar="DRIVER", help="openai or scripted")
MODEL = arg("--model", metavar="MODEL", help="name of the model")

COMMANDS = (
    Command(noun="routes", verb="list", help="list routes", run=list_routes, arguments=PAGING),
    Command(
        noun="routes", verb="get", help="show one route and its problems", run=get, arguments=(ROUTE_ID,)
    ),
    Command(
        noun="routes",
        verb="create",
        help="make a route",
        run=create,
        arguments=(
            ROUTE_ID,
            arg("--driver", metavar="DRIVER", required=True, help="openai or scripted"),
            MODEL,
            *FIELDS,
        ),
    ),
    Command(
        noun="routes",
        verb="update",
        help="change a route",
        run=update,
        arguments=(ROUTE_ID, DRIVER, MODEL, *FIELDS),
    ),
    Command(
        noun="routes",
        verb="set-default",
        help="use this route where nothing else is said",
        run=set_default,
        arguments=(ROUTE_ID,),
    ),
    Command(noun="routes", verb="delete", help="delete a route", run=delete, arguments=(ROUTE_ID, YES)),
)
