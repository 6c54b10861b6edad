"""A payment takes time, and can fail: what that looks like, what it costs (nothing), and the way on."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo

_PENDING_SECONDS = 5


def play(demo: Demo) -> None:
    main_job.make_bucket(demo, show=False)
    demo.heading("Find a Capacity Block")
    proposed = main_job.find(demo, show=False)
    demo.aws(
        "market",
        {"payment_outcome": "failed", "payment_seconds": _PENDING_SECONDS},
        "the account's card will be declined, which AWS finds out after the purchase",
    )
    demo.heading("Buy it")
    told = demo.invoke(*proposed.purchase, "-r", demo.region, status=1)
    lost = main_job.reservation_in(told)

    demo.heading("Look at it")
    demo.say("Nothing was paid, and there is no block. Neither waiting nor deploying gets any further:")
    demo.invoke("cb.list", "-r", demo.region)
    demo.invoke("cb.wait", "--until", "active", "--reservation-id", lost, "-r", demo.region, status=1)
    demo.invoke("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup", status=2)

    demo.heading("Mend the card, and buy again")
    demo.aws("market", {"payment_outcome": "paid", "payment_seconds": 2}, "the account has a card that works")
    demo.say("One that failed is not taken for one that was bought, so this is a second purchase, and meant to be:")
    again = main_job.find(demo, show=False)
    demo.invoke(*again.purchase, "-r", demo.region)
    demo.invoke("cb.list", "-r", demo.region)
