"""A payment fails after the purchase: what you see, that nothing is charged, and how to continue."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo

_PENDING_SECONDS = 5


def play(demo: Demo) -> None:
    main_job.make_bucket(demo, show=False)
    demo.heading("Find a Capacity Block")
    proposal = main_job.find(demo, show=False)
    demo.aws(
        "market",
        {"payment_outcome": "failed", "payment_seconds": _PENDING_SECONDS},
        "the account's card will be declined after the purchase",
    )
    demo.heading("Buy it")
    output = demo.invoke(*proposal.purchase, "-r", demo.region, status=1)
    lost = main_job.reservation_in(output)

    demo.heading("Look at it")
    demo.say("Nothing was paid, and there is no block. Neither cb.wait nor deploy accepts it:")
    demo.invoke("cb.list", "-r", demo.region)
    demo.invoke("cb.wait", "--until", "active", "--reservation-id", lost, "-r", demo.region, status=1)
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", status=2)

    demo.heading("Replace the card, and buy again")
    demo.aws("market", {"payment_outcome": "paid", "payment_seconds": 2}, "the account has a valid card")
    demo.say("A failed purchase does not count as a purchase, so this buys a second block, as it should:")
    next_proposal = main_job.find(demo, show=False)
    demo.invoke(*next_proposal.purchase, "-r", demo.region)
    demo.invoke("cb.list", "-r", demo.region)
