"""Runs before the random part: creates all kinds of objects, and triggers each refusal that random requests would miss.

It writes the created ids for `hooks.py`, and each status and code that occurred for `seen.py`.
"""

import json
import os
import sys
import time
import uuid

import requests

BASE, KEY, LANDLORD_KEY, DIR = sys.argv[1:]
DOCUMENT = requests.get(f"{BASE}/openapi.json", timeout=10).json()
UNKNOWN = "018f3c9e-7b1a-7000-8000-000000000001"
SEEN = open(os.path.join(DIR, "seen.jsonl"), "a", encoding="utf-8")
HTTP = requests.Session()


def operations():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def template_of(path):
    """Returns the documented path of a request path."""
    parts = path.split("?")[0].split("/")
    fits = lambda template: len(template) == len(parts) and all(a == b or a.startswith("{") for a, b in zip(template, parts))
    found = [one for one in DOCUMENT["paths"] if fits(one.split("/"))]
    return min(found, key=lambda one: one.count("{")) if found else None


def call(method, path, body=None, *, key=KEY, want=None, headers=None, data=None, template=None):
    """Sends a request and records the answer. Fails when it is not the wanted one."""
    sent = {"Authorization": f"Bearer {key}"} if key else {}
    sent["Idempotency-Key"] = str(uuid.uuid4())
    sent.update(headers or {})
    sent = {name: value for name, value in sent.items() if value is not None}
    answer = HTTP.request(method, BASE + path, json=body, data=data, headers=sent, timeout=30)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    code = answer.json().get("code") if is_problem else None
    SEEN.write(json.dumps({"operation": f"{method} {template or template_of(path)}", "status": answer.status_code, "code": code}) + "\n")
    wanted = want is None or want in (answer.status_code, code)
    if answer.status_code >= 500 or not wanted:
        raise SystemExit(f"walk: {method} {path} {body} expected {want}: {answer.status_code} {answer.text}")
    is_json = answer.headers.get("content-type") == "application/json"
    return answer.json() if is_json else None


def get(path, want=200, **more):
    return call("GET", path, want=want, **more)


def post(path, body=None, want=201, **more):
    return call("POST", path, body, want=want, **more)


def patch(path, body, want=200, **more):
    return call("PATCH", path, body, want=want, **more)


def product(sku, price=450, **more):
    return post("/v1/catalog/products", {"sku": sku, "name": f"Product {sku}", "price_minor": price, **more})["id"]


def cart(*lines, **more):
    made = post("/v1/carts", more)["id"]
    for product_id, quantity in lines:
        post(f"/v1/carts/{made}/items", {"product_id": product_id, "quantity": quantity})
    return made


def checkout(cart_id, method="manual", want=201, **more):
    return post("/v1/checkout", {"cart_id": cart_id, "email": "ann@example.org", "payment_method": method}, want, **more)


def sale(lines, amount, method="cash", want=201, **more):
    lines = [{"product_id": one, "quantity": quantity, **extra} for one, quantity, extra in lines]
    return post("/v1/sales", {"lines": lines, "payments": [{"method": method, "amount_minor": amount}], **more}, want)


def catalog():
    tea, jam = product("TEA", barcode="4001"), product("JAM", track_stock=True)
    product("CHEESE", unit="KGM", quantity_scale=3)
    post("/v1/catalog/products", {"sku": "TEA", "name": "x", "price_minor": 1}, "sku_taken")
    post("/v1/catalog/products", {"sku": "T2", "name": "x", "price_minor": 1, "barcode": "4001"}, "barcode_taken")
    post("/v1/catalog/products", {"sku": "T2", "name": "x", "price_minor": 1, "category_id": UNKNOWN}, "category_not_found")
    post("/v1/catalog/products", {"sku": "T2", "name": "x", "price_minor": 1, "tax_class": "nowhere"}, "unknown_tax_class")
    category = post("/v1/catalog/categories", {"name": "Shelf"})["id"]
    post("/v1/catalog/categories", {"name": "Shelf"}, "category_taken")
    for change, want in [
        ({"name": "Tea", "category_id": category}, 200),
        ({"sku": "JAM"}, "sku_taken"),
        ({"category_id": UNKNOWN}, "category_not_found"),
        ({"tax_class": "nowhere"}, "unknown_tax_class"),
    ]:
        patch(f"/v1/catalog/products/{tea}", change, want)
    patch(f"/v1/catalog/products/{jam}", {"barcode": "4001"}, "barcode_taken")
    stale = {"If-Match": '"v999"'}
    patch(f"/v1/catalog/products/{tea}", {"name": "x"}, "stale_version", headers=stale)
    for step in ("deactivate", "activate"):
        post(f"/v1/catalog/products/{tea}/{step}", None, "stale_version", headers=stale)
        post(f"/v1/catalog/products/{tea}/{step}", None, 200)
    old = product("OLD")
    post(f"/v1/catalog/products/{old}/deactivate", None, 200)
    rate = {"tax_class": "later", "name": "Later", "rate_ppm": 1, "valid_from": "2200-01-01T00:00:00Z"}
    post("/v1/tax-rates", rate)
    post("/v1/tax-rates", rate, "tax_rate_exists")
    taxes()
    later = product("LATER", tax_class="later")
    patch("/v1/settings/shop", {"name": "Corner"})
    patch("/v1/settings/shop", {"country": "FR", "vat_id": "DE136695976"}, "vat_id_mismatch")
    patch("/v1/settings/shop", {"name": "Corner"}, "stale_version", headers=stale)
    currencies(stale)
    return tea, jam, old, later, category


def taxes():
    rate = {"tax_class": "later", "name": "Later", "rate_ppm": 1, "valid_from": "2201-01-01"}
    added = post("/v1/tax-rates", rate)["id"]
    patch(f"/v1/tax-rates/{added}", {"name": "Much later"})
    patch(f"/v1/tax-rates/{added}", {"valid_from": "2200-01-01T00:00:00Z"}, "tax_rate_exists")
    patch(f"/v1/tax-rates/{UNKNOWN}", {}, "tax_rate_not_found")
    call("DELETE", f"/v1/tax-rates/{added}", want=204)
    call("DELETE", f"/v1/tax-rates/{added}", want="tax_rate_not_found")
    post("/v1/tax-rates/none", {}, "tax_is_configured")


def unconfigured_taxes(key):
    """A tenant that has neither a rate nor an explicit "no tax"."""
    more = {"key": key}
    tea = post("/v1/catalog/products", {"sku": "TEA", "name": "Tea", "price_minor": 450}, **more)["id"]
    lines = [{"product_id": tea, "quantity": 1}]
    sold = {"lines": lines, "payments": [{"method": "cash", "amount_minor": 450}]}
    post("/v1/sales", sold, "tax_not_configured", **more)
    cart_id = post("/v1/carts", {}, **more)["id"]
    post(f"/v1/carts/{cart_id}/items", lines[0], **more)
    placed = {"cart_id": cart_id, "email": "ann@example.org", "payment_method": "cash"}
    post("/v1/checkout", placed, "tax_not_configured", **more)
    none = post("/v1/tax-rates/none", {}, 200, **more)["id"]
    post("/v1/sales", sold, **more)
    card = {"lines": lines, "payments": [{"method": "card", "amount_minor": 450}]}
    post("/v1/sales", card, **more)
    patch(f"/v1/tax-rates/{none}", {"name": "x"}, "tax_rate_in_use", **more)
    call("DELETE", f"/v1/tax-rates/{none}", want="tax_rate_in_use", **more)


def currencies(stale):
    post("/v1/currencies", {"code": "HRK"}, "currency_ended")
    post("/v1/currencies", {"code": "EUR", "enabled": False}, "currency_is_base")
    post("/v1/carts", {"currency": "HRK"}, "currency_ended")
    kuna = product("KUNA", currency="HRK")
    sale([(kuna, 1, {})], 450, want="currency_ended")
    post("/v1/carts", {"currency": "USD"}, "currency_not_enabled")
    dollar = product("DOLLAR", currency="USD")
    sale([(dollar, 1, {})], 450, want="currency_not_enabled")
    post("/v1/currencies", {"code": "USD"})
    sale([(dollar, 1, {})], 450, want="no_exchange_rate")
    get("/v1/exchange-rates?base=USD&quote=EUR", "no_exchange_rate")
    get("/v1/exchange-rates?base=USD&quote=USD", "same_currency")
    post("/v1/exchange-rates", {"base": "USD", "quote": "USD", "rate": "1.1"}, "same_currency")
    post("/v1/exchange-rates", {"base": "USD", "quote": "EUR", "rate": "0.9", "effective_at": "2000-01-01T00:00:00Z"})
    get("/v1/exchange-rates?base=EUR&quote=USD")
    sale([(dollar, 1, {})], 450)
    patch("/v1/settings/currency", {"rate_max_age_days": 9})
    patch("/v1/settings/currency", {"rate_max_age_days": 8}, "stale_version", headers=stale)


def inventory(jam):
    patch(f"/v1/inventory/stock/{jam}", {"on_hand": 10**12, "reason": "counted"})
    post("/v1/inventory/adjustments", {"product_id": jam, "quantity_delta": 1, "reason": "x"}, "stock_too_large")
    patch(f"/v1/inventory/stock/{jam}", {"on_hand": 20})
    post("/v1/inventory/adjustments", {"product_id": jam, "quantity_delta": -21, "reason": "x"}, "stock_too_low")
    post("/v1/inventory/adjustments", {"product_id": jam, "quantity_delta": 5, "reason": "x"})
    post("/v1/inventory/adjustments", {"product_id": UNKNOWN, "quantity_delta": 5, "reason": "x"}, "product_not_found")
    post("/v1/inventory/adjustments", {"product_id": jam, "quantity_delta": 10**6 + 1, "reason": "x"}, "quantity_too_large")
    patch(f"/v1/catalog/products/{jam}", {"unit": "KGM", "quantity_scale": 3}, "unit_in_use")
    keyed = checkout(cart((jam, 2)))["order"]["id"]
    post("/v1/orders/cancel-unpaid", {"order_id": keyed}, "order_without_client")
    patch(f"/v1/inventory/stock/{jam}", {"on_hand": 1}, "stock_too_low")


def carts(tea, jam, old):
    item = lambda product_id, quantity=1: {"product_id": product_id, "quantity": quantity}
    mine = cart((tea, 2), (jam, 1))
    first = get(f"/v1/carts/{mine}")["items"][0]["id"]
    one = f"/v1/carts/{mine}/items/{first}"
    patch(one, {"quantity": 3})
    call("DELETE", one, want=200)
    call("DELETE", one, want="cart_item_not_found")
    patch(one, {"quantity": 3}, "cart_item_not_found")
    call("DELETE", f"/v1/carts/{UNKNOWN}/items/{first}", want="cart_not_found")
    patch(f"/v1/carts/{UNKNOWN}/items/{first}", {"quantity": 3}, "cart_not_found")
    items = f"/v1/carts/{mine}/items"
    post(items, item(UNKNOWN), "product_not_found")
    post(items, item(old), "product_inactive")
    post(items, item(tea, 10**6))
    post(items, item(tea, 10**6), "quantity_too_large")
    dear = product("DEAR", 10**13)
    post(items, item(dear, 10**6), "amount_too_large")
    post(items, item(dear))
    line = next(one["id"] for one in get(f"/v1/carts/{mine}")["items"] if one["product_id"] == dear)
    patch(f"{items}/{line}", {"quantity": 10**6}, "amount_too_large")
    checkout(mine, want="amount_too_large")
    sale([(dear, 2, {})], 10**13, want="amount_too_large")
    post(f"/v1/carts/{cart(currency='USD')}/items", item(tea), "currency_mismatch")
    post(f"/v1/carts/{mine}/clear", None, 200)
    post(f"/v1/carts/{mine}/abandon", None, 200)
    for step in ("clear", "abandon"):
        post(f"/v1/carts/{mine}/{step}", None, "cart_not_open")
    post(items, item(tea), "cart_not_open")
    patch(one, {"quantity": 3}, "cart_not_open")
    call("DELETE", one, want="cart_not_open")
    checkout(mine, want="cart_not_open")
    return dear


def selling(tea, jam, old, later):
    checkout(UNKNOWN, want="cart_not_found")
    checkout(cart(), want="cart_empty")
    checkout(cart((jam, 1000)), want="out_of_stock")
    checkout(cart((later, 1)), want=201)
    gone = product("GONE")
    held = cart((gone, 1))
    post(f"/v1/catalog/products/{gone}/deactivate", None, 200)
    checkout(held, want="product_inactive")
    sale([(tea, 1, {})], 1000)
    mine = str(uuid.uuid4())
    sale([(tea, 1, {})], 450, id=mine)
    sale([(tea, 1, {"discount_minor": 50, "discount_reason": "x"})], 450, discount_minor=10)
    sale([(tea, 1, {"discount_minor": 451})], 450, want="discount_too_large")
    sale([(tea, 2, {})], 900, id=mine, want="id_conflict")
    for lines, amount, more, want in [
        ([(old, 1, {})], 450, {}, "product_inactive"),
        ([(jam, 1000, {})], 450000, {}, "out_of_stock"),
        ([(UNKNOWN, 1, {})], 450, {}, "product_not_found"),
        ([(tea, 1, {})], 0, {}, "payment_zero"),
        ([(tea, 1, {})], 1, {}, "payment_insufficient"),
        ([(tea, 1, {})], 451, {"method": "manual"}, "payment_exceeds_total"),
        ([(tea, 1, {})], 450, {"sold_at": "2200-01-01T00:00:00Z"}, "sold_at_in_future"),
        ([(tea, 1, {})], 450, {"sold_at": "1970-01-01T00:00:00Z"}, "sold_at_too_old"),
    ]:
        sale(lines, amount, want=want, **more)


def payments(tea, jam):
    placed = checkout(cart((tea, 1)), "test")
    order, pending = placed["order"]["id"], placed["payment"]["id"]
    open_payment = lambda want, order_id=order: post("/v1/payments", {"order_id": order_id, "method": "test"}, want)
    open_payment("payment_pending")
    open_payment("order_not_found", UNKNOWN)
    decline = {"provider_reference": "decline"}
    post(f"/v1/payments/{pending}/confirm", decline, "payment_declined")
    post(f"/v1/payments/{pending}/confirm", {}, "payment_over")
    post("/v1/checkout/confirm-payment", {"payment_id": pending}, "payment_over")
    post(f"/v1/payments/{pending}/cancel", {}, "payment_over")
    second = open_payment(201)["id"]
    post("/v1/checkout/confirm-payment", {"payment_id": second, **decline}, "payment_declined")
    for _ in range(48):
        post(f"/v1/payments/{open_payment(201)['id']}/cancel", {"reason": "x"}, 200)
    open_payment("too_many_payments")
    post(f"/v1/orders/{order}/ship", None, "illegal_transition")
    post(f"/v1/orders/{order}/confirm", None, "illegal_transition")
    post(f"/v1/orders/{order}/cancel", None, 200)
    open_payment("order_not_payable")
    for confirm in ("checkout", "payments"):
        placed = checkout(cart((tea, 1)))
        order, pending = placed["order"]["id"], placed["payment"]["id"]
        body = {"payment_id": pending} if confirm == "checkout" else {}
        path = "/v1/checkout/confirm-payment" if confirm == "checkout" else f"/v1/payments/{pending}/confirm"
        post(path, body, 200)
        post(path, body, "payment_already_processed")
        post(f"/v1/payments/{pending}/cancel", {}, "payment_already_processed")
    post(f"/v1/orders/{order}/cancel", None, "illegal_transition")
    post(f"/v1/orders/{order}/confirm", None, 200)
    post(f"/v1/orders/{order}/ship", None, 200)
    post("/v1/checkout/confirm-payment", {"payment_id": UNKNOWN}, "payment_not_found")


def landlord():
    more = {"key": LANDLORD_KEY}
    post("/v1/landlord/tenants", {"slug": "other", "name": "Other", "domains": ["other.example.org"]}, **more)
    post("/v1/landlord/tenants", {"slug": "other", "name": "Other"}, "slug_taken", **more)
    post("/v1/landlord/tenants", {"slug": "third", "name": "x", "domains": ["other.example.org"]}, "domain_taken", **more)
    post("/v1/landlord/tenants", {"slug": "third", "name": "x"}, **more)
    third = post("/v1/landlord/tenants/third/api-keys", {"name": "x", "scopes": ["checkout"]}, **more)
    post("/v1/landlord/tenants/third/domains", {"host": "third.example.org"}, 200, **more)
    post("/v1/landlord/tenants/third/domains", {"host": "other.example.org"}, "domain_taken", **more)
    post("/v1/landlord/tenants/third/suspend", None, 200, **more)
    fourth = post("/v1/landlord/tenants", {"slug": "fourth", "name": "x"}, **more)
    unconfigured_taxes(fourth["api_key"])
    call("DELETE", "/v1/landlord/tenants/fourth", want=204, **more)
    spare = post("/v1/landlord/api-keys", {"name": "spare"}, **more)
    call("DELETE", f"/v1/landlord/api-keys/{spare['id']}", want=204, **more)
    return third["api_key"]


def queue():
    more = {"key": LANDLORD_KEY}
    jobs = "/v1/landlord/queue/jobs"
    get("/v1/landlord/queue/stats?tenant=demo", **more)
    get("/v1/landlord/queue/stats?tenant=nobody", "tenant_not_found", **more)
    get(f"{jobs}?tenant=nobody", "tenant_not_found", **more)
    waiting = get(f"{jobs}?state=scheduled&queue=low&tenant=demo&limit=1", **more)["data"][0]["id"]
    get(f"{jobs}/{waiting}", **more)
    for step in (lambda: call("DELETE", f"{jobs}/{waiting}", want=200, **more), lambda: post(f"{jobs}/{waiting}/retry", None, 200, **more)):
        step()
    # The due jobs complete soon; polls until one has.
    for _ in range(100):
        done = get(f"{jobs}?state=completed&tenant=demo&limit=1", **more)["data"]
        if done:
            break
        time.sleep(0.1)
    post(f"{jobs}/{done[0]['id']}/retry", None, "job_completed", **more)
    call("DELETE", f"{jobs}/{done[0]['id']}", want="job_completed", **more)
    for step in ("pause", "resume"):
        post(f"/v1/landlord/queue/low/{step}", None, 200, **more)
        post(f"/v1/landlord/queue/low/{step}?tenant=demo", None, 200, **more)
        post(f"/v1/landlord/queue/low/{step}?tenant=nobody", None, "tenant_not_found", **more)
    for step in ("retry", "flush"):
        post(f"/v1/landlord/queue/{step}", None, 200, **more)
        post(f"/v1/landlord/queue/{step}?tenant=demo&queue=low", None, 200, **more)
        post(f"/v1/landlord/queue/{step}?tenant=nobody", None, "tenant_not_found", **more)
        post(f"/v1/landlord/queue/{step}?queue=slow", None, "validation_failed", **more)
    post("/v1/landlord/queue/release?tenant=demo", None, 200, **more)
    post("/v1/landlord/queue/release?tenant=nobody", None, "tenant_not_found", **more)
    get("/v1/landlord/retention", **more)
    post("/v1/landlord/retention/prune", {"dry_run": True}, 200, **more)
    post("/v1/landlord/retention/prune", {"dry_run": False, "tenant": "demo"}, 200, **more)
    post("/v1/landlord/retention/prune", {"dry_run": True, "tenant": "nobody"}, "tenant_not_found", **more)


def sample(schema, name=""):
    """Returns a value that matches a schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return sample(DOCUMENT["components"]["schemas"][name], name)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {one: sample(schema["properties"][one]) for one in schema.get("required", [])}
    if kind == "array":
        return [sample(schema["items"])] * schema.get("minItems", 0)
    if kind == "integer":
        return max(1, schema.get("minimum", 1))
    if kind == "boolean":
        return True
    forms = {"uuid": UNKNOWN, "email": "ann@example.org", "date-time": "2026-01-01T00:00:00Z"}
    return forms.get(schema.get("format"), {"Currency": "EUR", "ExchangeRate": "1.1"}.get(name, "a1"))


def format_refusals(pool, used, suspended):
    """Triggers the refusals that depend on the format of a request, at every operation."""
    for method, path, operation in operations():
        if operation.get("security") == [{}]:
            call(method, path)
            continue
        is_landlord = path.startswith("/v1/landlord/")
        own = LANDLORD_KEY if is_landlord else KEY
        body = operation.get("requestBody")
        good = sample(body["content"]["application/json"]["schema"]) if body else None
        if path == "/v1/landlord/tenants/{slug}/api-keys" and good:
            good["scopes"] = ["checkout"]  # required for tenant keys only, so the schema does not require it
        if path == "/v1/orders/cancel-unpaid":
            good = {"all": True}  # exactly one member of three, which the schema cannot say
        parameters = operation.get("parameters", [])
        real = path
        for one in parameters:
            if one.get("in") == "path":
                real = real.replace("{%s}" % one["name"], UNKNOWN if one["name"] != "slug" else "nobody")

        def ask(want=None, at=real, key=own, sends=good, **more):
            return call(method, at, sends if "data" not in more else None, key=key, want=want, template=path, **more)

        ask("unauthenticated", headers={"Authorization": "Basic x"})
        ask("invalid_api_key", key="tb_aaaaaaaa_" + "a" * 52)
        ask("insufficient_scope", key=KEY if is_landlord else LANDLORD_KEY)
        if not is_landlord:
            ask("tenant_not_found", headers={"X-Tillbox-Tenant": "nobody"})
            ask("tenant_mismatch", headers={"X-Tillbox-Tenant": "other"})
            ask("tenant_suspended", key=suspended)
        if real != path:
            ask(404)
            if any(one.get("schema", {}).get("format") == "uuid" for one in parameters if one.get("in") == "path"):
                ask("malformed_id", at=real.replace(UNKNOWN, "x"))
        if any(one.get("in") == "query" for one in parameters):
            ask("validation_failed", at=f"{real}?nonsense=1")
        for one in parameters:
            if one.get("name") == "Idempotency-Key":
                ask("idempotency_key_invalid", headers={"Idempotency-Key": '""'})
                ask("idempotency_key_reused", headers={"Idempotency-Key": used})
                if one["required"]:
                    ask("idempotency_key_missing", headers={"Idempotency-Key": None})
        if body:
            typed = {"Content-Type": "application/json"}
            ask("malformed_json", data=b"{", headers=typed)
            ask("malformed_utf8", data=b'{"\xff":1}', headers=typed)
            ask("body_too_large", data=b" " * (1 << 20) + b"{}", headers=typed)
            ask("unsupported_media_type", data=b"{}", headers={"Content-Type": "text/plain"})
            ask("validation_failed", sends={"nonsense": 1})
        if method == "GET":
            ask(None)


def main():
    tea, jam, old, later, category = catalog()
    inventory(jam)
    carts(tea, jam, old)
    selling(tea, jam, old, later)
    payments(tea, jam)
    suspended = landlord()
    queue()
    used = str(uuid.uuid4())
    post("/v1/catalog/categories", {"name": "Used"}, headers={"Idempotency-Key": used})
    kept = {kind: [one["id"] for one in get(f"/v1/{kind}?limit=50")["data"]] for kind in ("orders", "payments", "invoices", "financial-orders")}
    keys = get("/v1/landlord/api-keys", key=LANDLORD_KEY)["data"]
    pool = {
        **kept,
        "products": [tea, jam, old],
        "categories": [category],
        "carts": [cart((tea, 1)), cart((jam, 1)), cart((jam, 1)), cart()],
        "tenants": ["other", "third"],
        "needed": ["demo", get("/v1/landlord/tenants/demo", key=LANDLORD_KEY)["id"]] + [one["id"] for one in keys],
    }
    for method, path, operation in operations():
        if method == "GET" and "{id}" in path and path.split("/")[-2] in pool:
            get(path.replace("{id}", pool[path.split("/")[-2]][0]))
    get(f"/v1/inventory/stock/{jam}")
    get("/v1/landlord/tenants/other", key=LANDLORD_KEY)
    get("/v1/landlord/tenants/other/api-keys", key=LANDLORD_KEY)
    post("/v1/landlord/tenants/third/resume", None, 200, key=LANDLORD_KEY)
    post("/v1/landlord/tenants/third/suspend", None, 200, key=LANDLORD_KEY)
    format_refusals(pool, used, suspended)
    with open(os.path.join(DIR, "pool.json"), "w", encoding="utf-8") as file:
        json.dump(pool, file)
    with open(os.path.join(DIR, "openapi.json"), "w", encoding="utf-8") as file:
        json.dump(DOCUMENT, file)


main()
