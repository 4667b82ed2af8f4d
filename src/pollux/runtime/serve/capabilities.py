"""The one table of what can be asked and told; every face is generated from it."""

from collections.abc import Mapping
from typing import Any

from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError
from pollux.runtime.ports import Host
from pollux.runtime.serve.acting import ACTING
from pollux.runtime.serve.asking import ASKING
from pollux.runtime.serve.auth import need
from pollux.runtime.serve.capability import Call, Capability
from pollux.runtime.serve.enrolling import ENROLLING
from pollux.runtime.serve.looking import LOOKING
from pollux.runtime.serve.strict import Params

Table = Mapping[str, Capability]

CAPABILITIES: Table = {c.name: c for c in (*LOOKING, *ACTING, *ENROLLING, *ASKING)}


async def run(host: Host, table: Table, capability: Capability, who: Principal, params: Params, twin: str = "") -> Any:
    """Run one capability for somebody: role, then the handler. Every face ends here.

    Raises `Problem` or a `PolluxError`.
    """
    need(who, capability.role, f"`{capability.name}`")
    if capability.people and who.kind != "person":
        raise AccessError(f"Only a person may {capability.name}, {who.name!r} is a {who.kind}; ask an operator")
    return await capability.handler(Call(host, table, who, params, twin))
