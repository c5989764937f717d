"""Compares what was answered with what is described: every status and code that came stands at its operation, and every one that stands there came.

Prints one line per operation, and fails for what is missing on either side; what cannot come in such a run is excepted below, with its reason.
"""

import collections
import json
import os
import re
import sys

DIR = sys.argv[1]
CODE = re.compile(r"`([a-z0-9_]+)`")

# (operation or *, status): why it cannot be met here. One that was met after all fails too, so that the list only shrinks.
STATUSES_EXCEPTED = {
    ("*", 429): "the limits are raised for this run; tests/it/api/rate_limiter.rs meets each",
    ("GET /health", 503): "comes when a part fails; tests/it/api/health.rs breaks one",
    ("GET /health/ready", 503): "comes before the daemon listens",
    ("POST /v1/landlord/retention/prune", 409): "takes a clock that was set; tests/it/upkeep/clock.rs sets one",
}
# Codes that were met at no operation.
CODES_EXCEPTED = {
    "cart_full": "takes 501 products; tests/it/api/carts.rs fills one",
    "clock_doubtful": "takes a clock that was set; tests/it/upkeep/clock.rs sets one",
    "invoice_number_taken": "takes a changed form of the numbers; tests/it/tenant/invoice_numbers.rs changes it",
    "job_running": "takes a job that is under way; tests/it/api/landlord_queue.rs holds one",
    "job_superseded": "takes a job whose like was queued since; tests/it/api/landlord_queue.rs queues one",
    "rate_limited": "the limits are raised for this run; tests/it/api/rate_limiter.rs meets it at each limited route",
    "not_ready": "comes before the daemon listens",
    "payment_method_unavailable": "`test` is available under --dev; tests/it/api/checkout.rs and sales.rs ask without",
}

document = json.load(open(os.path.join(DIR, "openapi.json"), encoding="utf-8"))
seen = collections.defaultdict(collections.Counter)
for line in open(os.path.join(DIR, "seen.jsonl"), encoding="utf-8"):
    one = json.loads(line)
    if one["code"] not in ("route_not_found", "method_not_allowed"):
        seen[one["operation"]][(one["status"], one["code"])] += 1

faults, codes, met, answers = [], set(), set(), 0
print(f"{'operation':58} answers  statuses  codes  never seen")
for path, item in sorted(document["paths"].items()):
    for method, operation in item.items():
        label = f"{method.upper()} {path}"
        came = seen.pop(label, {})
        answers += sum(came.values())
        declared = {int(status): set(CODE.findall(answer["description"])) for status, answer in operation["responses"].items() if status != "default"}
        statuses = {status for status, _ in came}
        for status, code in came:
            if status not in declared:
                faults.append(f"{label} answered {status} {code}, which does not stand there")
            elif code is not None and code not in declared[status]:
                faults.append(f"{label} answered {status} `{code}`; its {status} does not name that code")
        for status in set(declared) - statuses:
            if not {(label, status), ("*", status)} & set(STATUSES_EXCEPTED):
                faults.append(f"{label} never answered {status}, which stands there")
        stale = [status for one, status in STATUSES_EXCEPTED if one in (label, "*") and status in statuses]
        faults.extend(f"{label} answered {status}: take its exception out" for status in stale)
        pairs = {(status, code) for status, named in declared.items() if status >= 400 for code in named}
        codes |= {code for _, code in pairs}
        met |= {code for _, code in came if code}
        never = sorted(code for status, code in pairs if (status, code) not in came)
        count = f"{len(statuses & set(declared))}/{len(declared)}", f"{len(pairs) - len(never)}/{len(pairs)}"
        print(f"{label:58} {sum(came.values()):7}  {count[0]:>8}  {count[1]:>5}  {' '.join(never)}")

faults.extend(f"{label} was called and stands nowhere" for label in seen)
faults.extend(f"no call was refused with `{code}`" for code in sorted(codes - met - set(CODES_EXCEPTED)))
faults.extend(f"`{code}` was answered: take its exception out" for code in sorted(met & set(CODES_EXCEPTED)))
for (label, status), reason in STATUSES_EXCEPTED.items():
    print(f"excepted: {label} {status}: {reason}")
for code, reason in CODES_EXCEPTED.items():
    print(f"excepted: `{code}`: {reason}")
print(f"{answers} answers, {len(codes & met)} of {len(codes)} codes met, {len(faults)} faults")
for fault in faults:
    print(f"fault: {fault}")
sys.exit(1 if faults else 0)
