"""Compares the answers with the API description: each status and code that occurred is documented at its operation, and
each documented one occurred.

Prints one line per operation and fails for a difference. The exceptions below cannot occur in such a run; each has its
reason.
"""

import collections
import json
import os
import re
import sys

DIR = sys.argv[1]
CODE = re.compile(r"`([a-z0-9_]+)`")

# (operation or *, status): the reason why it cannot occur here. An exception that occurs is a failure, so the list only
# shrinks.
STATUS_EXCEPTIONS = {
    ("*", 429): "the limits are raised for this run; tests/it/api/rate_limiter.rs triggers each",
    ("POST /v1/carts", 409): "needs more carts than an address may have; tests/it/api/storefront_bounds.rs makes them",
    ("GET /health", 503): "needs a failing component; tests/it/api/health.rs breaks one",
    ("GET /health/ready", 503): "occurs only before the daemon listens",
    ("POST /v1/landlord/retention/prune", 409): "needs a clock jump; tests/it/maintenance/clock.rs makes one",
}
# Codes that occur at no operation.
CODE_EXCEPTIONS = {
    "cart_full": "needs 101 products; tests/it/api/carts.rs fills one",
    "carts_limit": "needs 10,000 carts; tests/it/api/storefront_bounds.rs lowers the limit",
    "carts_per_address_limit": "needs 51 carts of one address; tests/it/api/storefront_bounds.rs makes them",
    "hold_limit_exceeded": "needs a checkout of many pieces without a key; see tests/it/api/storefront_bounds.rs",
    "unpaid_orders_limit": "needs six orders of one address; tests/it/api/storefront_bounds.rs places them",
    "clock_suspect": "needs a clock jump; tests/it/maintenance/clock.rs makes one",
    "invoice_number_taken": "needs a changed number format; tests/it/tenant/invoice_numbers.rs changes it",
    "job_running": "needs a running job; tests/it/api/landlord_queue/changing.rs holds one",
    "job_superseded": "needs a job with a newer duplicate; tests/it/api/landlord_queue/changing.rs queues one",
    "rate_limited": "the limits are raised for this run; tests/it/api/rate_limiter.rs triggers it at each limited route",
    "not_ready": "occurs only before the daemon listens",
    "payment_reference_missing": "no method needs a reference yet",
    "payment_method_unavailable": "`test` is available under --dev; tests/it/api/checkout.rs and sales.rs test without it",
}

document = json.load(open(os.path.join(DIR, "openapi.json"), encoding="utf-8"))
seen = collections.defaultdict(collections.Counter)
for line in open(os.path.join(DIR, "seen.jsonl"), encoding="utf-8"):
    one = json.loads(line)
    if one["code"] not in ("route_not_found", "method_not_allowed"):
        seen[one["operation"]][(one["status"], one["code"])] += 1

failures, codes, met, answers = [], set(), set(), 0
print(f"{'operation':58} answers  statuses  codes  missing")
for path, item in sorted(document["paths"].items()):
    for method, operation in item.items():
        label = f"{method.upper()} {path}"
        occurred = seen.pop(label, {})
        answers += sum(occurred.values())
        declared = {int(status): set(CODE.findall(answer["description"])) for status, answer in operation["responses"].items() if status != "default"}
        statuses = {status for status, _ in occurred}
        for status, code in occurred:
            if status not in declared:
                failures.append(f"{label} answered {status} {code}, which is not documented")
            elif code is not None and code not in declared[status]:
                failures.append(f"{label} answered {status} `{code}`; the code is not documented for {status}")
        for status in set(declared) - statuses:
            if not {(label, status), ("*", status)} & set(STATUS_EXCEPTIONS):
                failures.append(f"{label} never answered {status}, which is documented")
        stale = [status for one, status in STATUS_EXCEPTIONS if one in (label, "*") and status in statuses]
        failures.extend(f"{label} answered {status}: remove its exception" for status in stale)
        pairs = {(status, code) for status, named in declared.items() if status >= 400 for code in named}
        codes |= {code for _, code in pairs}
        met |= {code for _, code in occurred if code}
        never = sorted(code for status, code in pairs if (status, code) not in occurred)
        count = f"{len(statuses & set(declared))}/{len(declared)}", f"{len(pairs) - len(never)}/{len(pairs)}"
        print(f"{label:58} {sum(occurred.values()):7}  {count[0]:>8}  {count[1]:>5}  {' '.join(never)}")

failures.extend(f"{label} was called but is not documented" for label in seen)
failures.extend(f"no call was refused with `{code}`" for code in sorted(codes - met - set(CODE_EXCEPTIONS)))
failures.extend(f"`{code}` was answered: remove its exception" for code in sorted(met & set(CODE_EXCEPTIONS)))
for (label, status), reason in STATUS_EXCEPTIONS.items():
    print(f"exception: {label} {status}: {reason}")
for code, reason in CODE_EXCEPTIONS.items():
    print(f"exception: `{code}`: {reason}")
print(f"{answers} answers, {len(codes & met)} of {len(codes)} codes met, {len(failures)} failures")
for failure in failures:
    print(f"failure: {failure}")
sys.exit(1 if failures else 0)
