"""Hooks with knowledge of Tillbox: the existing ids, and two checks that are stricter than those of schemathesis.

Each change by a hook depends on the drawn value alone, so that a seed or a shrunk case reproduces the same requests.
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

# Fields with a rule that JSON Schema cannot express, and the rule.
ALLOWED_REFUSALS = {
    "?cursor": "only cursors from the API are valid",
    "/currency": "not every three capital letters are a currency",
    "/code": "not every three capital letters are a currency",
    "/base": "not every three capital letters are a currency",
    "/quote": "not every three capital letters are a currency",
    "?base": "not every three capital letters are a currency, and base and quote go together",
    "?quote": "not every three capital letters are a currency",
    "/quantity_delta": "must not be 0",
    "?to": "must be after from; a day or an instant",
    "?from": "a day or an instant",
    "/valid_from": "a day or an instant",
    "/timezone": "only names of the IANA database are a time zone",
    "/address": "has one to six lines",
    "/country": "not every two capital letters are a country",
    "/vat_id": "has check digits, and belongs to the country",
    "/buyer/address": "has one to six lines",
    "/buyer/country": "not every two capital letters are a country",
    "/buyer/vat_id": "has check digits, and belongs to the country",
    "/tax/": "one rate of a class can be valid from now on",
    "/no_tax": "not allowed together with tax",
    "/tax_preset": "needs a country whose rates are known",
    "/clock_is_right": "not allowed together with dry_run",
    "/scopes": "the allowed scopes depend on the kind of key",
}


def draw(value):
    """Derives a number from a drawn value."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big")


def known(kind, value):
    """Replaces three of four drawn ids by an existing one, and keeps other values."""
    try:
        uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return value
    number, pool = draw(value), POOL.get(kind)
    return pool[number // 4 % len(pool)] if pool and number % 4 else value


def kind_of(name):
    """Returns the collection of an id field: `product_id` gives `products`."""
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
    # Either of the two identifies a product; both together are refused.
    if query and "sku" in query:
        query.pop("barcode", None)
    return query


@schemathesis.hook
def map_body(ctx, body):
    return repaired("", body)


def repaired(name, value):
    if isinstance(value, dict):
        return {name: repaired(name, member) for name, member in value.items()}
    if isinstance(value, list):
        return [repaired(name, member) for member in value]
    # JSON Schema accepts 7.0 as an integer. The API accepts no floats.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if name == "currency" and isinstance(value, str) and len(value) == 3 and draw(value) % 4:
        return "EUR"
    return known(kind_of(name), value) if name.endswith("_id") else value


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Protects the tenants and keys that this run needs."""
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


def uses_declared_method(case):
    return case.method.upper() == case.operation.method.upper()


@schemathesis.hook
def after_call(ctx, case, response):
    if uses_declared_method(case):
        line = json.dumps({"operation": case.operation.label, "status": response.status_code, "code": code_of(response)[0]})
        with LOCK:
            SEEN.write(line + "\n")
            SEEN.flush()


@schemathesis.check
def documented_status(ctx, response, case):
    """The status is documented at the operation; `default` does not count."""
    declared = case.operation.definition.raw.get("responses", {})
    if uses_declared_method(case) and str(response.status_code) not in declared:
        # Schemathesis also mutates the path, which then matches another route or none.
        if code_of(response)[0] in ("route_not_found", "method_not_allowed"):
            return
        raise AssertionError(f"{response.status_code} {code_of(response)[0]} is not documented at {case.operation.label}")


@schemathesis.check
def matching_request_is_not_malformed(ctx, response, case):
    """A request that matches the schema is not refused for its format."""
    if case.meta is None or not case.meta.generation.mode.is_positive or not uses_declared_method(case):
        return
    code, pointers = code_of(response)
    format_codes = ("validation_failed", "malformed_json", "malformed_utf8", "malformed_id", "unsupported_media_type")
    if code not in format_codes + ("idempotency_key_invalid", "idempotency_key_missing"):
        return
    if pointers and all(pointer.startswith(tuple(ALLOWED_REFUSALS)) for pointer in pointers):
        return
    # Exactly one of three members, which the schema cannot say.
    if case.path == "/v1/orders/cancel-unpaid" and code == "validation_failed" and pointers == [""]:
        return
    raise AssertionError(f"{code}: {response.text}")
