"""A payment takes time, and can fail: what that looks like, what it costs (nothing), and the way on."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.stage import Stage

_PENDING_SECONDS = 5


def play(stage: Stage) -> None:
    main_job.make_bucket(stage, show=False)
    stage.heading("Find a Capacity Block")
    proposed = main_job.find(stage, show=False)
    stage.aws(
        "market",
        {"payment_outcome": "failed", "payment_seconds": _PENDING_SECONDS},
        "the account's card will be declined, which AWS finds out after the purchase",
    )
    stage.heading("Buy it")
    told = stage.invoke(*proposed.purchase, "-r", stage.region, status=1)
    lost = main_job.reservation_in(told)

    stage.heading("Look at it")
    stage.say("Nothing was paid, and there is no block. Neither waiting nor deploying gets any further:")
    stage.invoke("cb.list", "-r", stage.region)
    stage.invoke("cb.wait", "--until", "active", "--reservation-id", lost, "-r", stage.region, status=1)
    stage.invoke("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup", status=2)

    stage.heading("Mend the card, and buy again")
    stage.aws("market", {"payment_outcome": "paid", "payment_seconds": 2}, "the account has a card that works")
    stage.say("One that failed is not taken for one that was bought, so this is a second purchase, and meant to be:")
    again = main_job.find(stage, show=False)
    stage.invoke(*again.purchase, "-r", stage.region)
    stage.invoke("cb.list", "-r", stage.region)
