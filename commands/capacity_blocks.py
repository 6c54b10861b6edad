"""Capacity Blocks: `invoke cb.*`."""

from __future__ import annotations

from commands.command import command
from torchneuron.capacity_blocks.options import (
    CancelOptions,
    DescribeOptions,
    ExtendOptions,
    ListOptions,
    LoadOptions,
    PurchaseOptions,
    SaveOptions,
    WaitOptions,
)
from torchneuron.capacity_blocks.query import SearchOptions


@command(SearchOptions)
def search(options: SearchOptions) -> None:
    """Find Capacity Blocks on sale that `invoke deploy` can use.

    Example: invoke cb.search -t trn2.3xlarge -d 24,48 -r all
    """
    from torchneuron.capacity_blocks import workflows

    workflows.search(options)


@command(PurchaseOptions)
def purchase(options: PurchaseOptions) -> None:
    """Buy an offering once, then save the block to Parameter Store.

    Example: invoke cb.purchase --offering-id cb-0123456789abcdef0 --max-price 60
    """
    from torchneuron.capacity_blocks import workflows

    workflows.purchase(options)


@command(ExtendOptions)
def extend(options: ExtendOptions) -> None:
    """Extend a Capacity Block, once.

    Example: invoke cb.extend --reservation-id cr-0123456789abcdef0 --duration 24
    """
    from torchneuron.capacity_blocks import workflows

    workflows.extend(options)


@command(ListOptions)
def list_(options: ListOptions) -> None:
    """List the Capacity Blocks of a region: state, times, instances, and when they can be extended.

    Example: invoke cb.list --region sa-east-1
    """
    from torchneuron.capacity_blocks import workflows

    workflows.list_blocks(options)


@command(DescribeOptions)
def describe(options: DescribeOptions) -> None:
    """Show one reservation in full.

    Example: invoke cb.describe --reservation-id cr-0123456789abcdef0
    """
    from torchneuron.capacity_blocks import workflows

    workflows.describe(options)


@command(CancelOptions)
def cancel(options: CancelOptions) -> None:
    """Cancel an on-demand reservation. AWS never cancels a Capacity Block.

    Example: invoke cb.cancel --reservation-id cr-0123456789abcdef0
    """
    from torchneuron.capacity_blocks import workflows

    workflows.cancel(options)


@command(SaveOptions)
def save_params(options: SaveOptions) -> None:
    """Save a Capacity Block and a subnet in its zone to Parameter Store, for invoke deploy.

    Example: invoke cb.save-params --reservation-id cr-0123456789abcdef0
    """
    from torchneuron.capacity_blocks import workflows

    workflows.save_params(options)


@command(LoadOptions)
def load_params(options: LoadOptions) -> None:
    """Show the Capacity Block that is saved for a region.

    Example: eval "$(invoke cb.load-params --output shell)"
    """
    from torchneuron.capacity_blocks import workflows

    workflows.load_params(options)


@command(WaitOptions)
def wait(options: WaitOptions) -> None:
    """Wait until a Capacity Block is active, or about to end.

    Example: invoke cb.wait --until active && invoke deploy --use-capacity-block
    """
    from torchneuron.capacity_blocks import workflows

    workflows.wait(options)
