"""What schemathesis cannot know of Tillbox: which ids there are, and two checks that are sharper than its own.

All that a hook changes follows from the drawn value alone, so that a seed and a shrunk case mean the same thing again.
"""

import hashlib
import json
import os
import threading
import uuid

import schemathesis

POOL = json.load(open(os.environ["TILLBOX_POOL"], encoding="utf-8"))
SEEN = open(os.environ["TILLBOX_SEEN"], "a", encoding="utf-8")
LOCK = threading.Lock()

# Where a description says less than the daemon asks, because JSON Schema cannot say it.
EXCUSED = {
    "?cursor": "only what the API gave out; a client must not make one",
    "/currency": "three capitals need not be a currency",
    "/code": "three capitals need not be a currency",
    "/base": "three capitals need not be a currency",
    "/quote": "three capitals need not be a currency",
    "?base": "three capitals need not be a currency, and base and quote go together",
    "?quote": "three capitals need not be a currency",
    "/quantity_delta": "0 is no difference",
    "?to": "a period must end after it begins",
    "/clock_is_right": "not beside dry_run: who only counts has nothing to say about the clock",
    "/scopes": "which scopes go together depends on whose key it is",
}


def draw(value):
    """A number that follows from a drawn value."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big")


def known(kind, value):
    """Three times of four an id that there is, for an id that was drawn; what is no id stays."""
    try:
        uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return value
    number, pool = draw(value), POOL.get(kind)
    return pool[number // 4 % len(pool)] if pool and number % 4 else value


def kind_of(name):
    """`product_id` is one of `products`."""
    stem = name.removesuffix("_id")
    return stem[:-1] + "ies" if stem.endswith("y") else stem + "s"


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    path = ctx.operation.path.split("/")
    for name, value in (path_parameters or {}).items():
        if name == "slug":
            if draw(value) % 4:
                path_parameters[name] = POOL["tenants"][draw(value) // 4 % len(POOL["tenants"])]
        else:
            kind = path[path.index("{%s}" % name) - 1] if name == "id" else kind_of(name)
            path_parameters[name] = known(kind, value)
    return path_parameters


@schemathesis.hook
def map_query(ctx, query):
    for name in list(query or {}):
        if name.endswith("_id"):
            query[name] = known(kind_of(name), query[name])
    # Each of the two names one product; together they are refused.
    if query and "sku" in query:
        query.pop("barcode", None)
    return query


@schemathesis.hook
def map_body(ctx, body):
    return mended("", body)


def mended(name, value):
    if isinstance(value, dict):
        return {name: mended(name, member) for name, member in value.items()}
    if isinstance(value, list):
        return [mended(name, member) for member in value]
    # JSON Schema takes 7.0 for an integer. No floats anywhere, says the contract.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if name == "currency" and isinstance(value, str) and len(value) == 3 and draw(value) % 4:
        return "EUR"
    return known(kind_of(name), value) if name.endswith("_id") else value


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Whom this run needs is not removed in it."""
    for name, value in (case.path_parameters or {}).items():
        if value in POOL["needed"] and case.method.upper() in ("DELETE", "POST"):
            case.path_parameters[name] = "nobody" if name == "slug" else "018f3c9e-7b1a-7000-8000-000000000001"


def code_of(response):
    try:
        document = response.json()
    except ValueError:
        return None, []
    if not isinstance(document, dict) or response.status_code < 400:
        return None, []
    return document.get("code"), [error.get("pointer", "") for error in document.get("errors") or []]


def is_of_its_method(case):
    return case.method.upper() == case.operation.method.upper()


@schemathesis.hook
def after_call(ctx, case, response):
    if is_of_its_method(case):
        line = json.dumps({"operation": case.operation.label, "status": response.status_code, "code": code_of(response)[0]})
        with LOCK:
            SEEN.write(line + "\n")
            SEEN.flush()


@schemathesis.check
def declared_status(ctx, response, case):
    """The status stands at the operation, `default` left aside."""
    declared = case.operation.definition.raw.get("responses", {})
    if is_of_its_method(case) and str(response.status_code) not in declared:
        # What is no request of ours any more: schemathesis breaks the path too, and then it is another route, or none.
        if code_of(response)[0] in ("route_not_found", "method_not_allowed"):
            return
        raise AssertionError(f"{response.status_code} {code_of(response)[0]} is not declared at {case.operation.label}")


@schemathesis.check
def described_form_is_taken(ctx, response, case):
    """What has the form that is described is not refused for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or not is_of_its_method(case):
        return
    code, pointers = code_of(response)
    of_form = ("validation_failed", "malformed_json", "malformed_utf8", "malformed_id", "unsupported_media_type")
    if code not in of_form + ("idempotency_key_invalid", "idempotency_key_missing"):
        return
    if pointers and all(pointer.startswith(tuple(EXCUSED)) for pointer in pointers):
        return
    raise AssertionError(f"{code}: {response.text}")
