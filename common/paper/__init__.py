"""The paper's tables and figures, one file each: `bash reproduce.sh ITEM` makes one, the paper's numbers beside ours.

An item is one file here and one line below. It asks the bench for verdicts and makes tables and pictures of them; it
trains nothing and writes nothing.
"""

from typing import TYPE_CHECKING

from common.runtime.registry import Registry

if TYPE_CHECKING:
    from common.paper.interface import Item

ITEMS: "Registry[Item]" = Registry(
    table3="common.paper.table3:ITEM",
    table4="common.paper.table4:ITEM",
    table5="common.paper.table5:ITEM",
    table6="common.paper.table6:ITEM",
    table7="common.paper.table7:ITEM",
    table8="common.paper.table8:ITEM",
    figure1="common.paper.figure1:ITEM",
    figure4="common.paper.figure4:ITEM",
    figure5="common.paper.figure5:ITEM",
    figure6="common.paper.figure6:ITEM",
    figure7="common.paper.figure7:ITEM",
    figure8="common.paper.figure8:ITEM",
    figure9="common.paper.figure9:ITEM",
    figure10="common.paper.figure10:ITEM",
    figure11="common.paper.figure11:ITEM",
    figure12="common.paper.figure12:ITEM",
    figure13="common.paper.figure13:ITEM",
)
