"""The replay buffer's state: groups come back from a checkpoint as they were."""

from __future__ import annotations

import json

from gnomon.core.experience import Rollout
from gnomon.core.types import Completion, Message, Prompt
from gnomon.training.online.replay_buffer import ReplayBuffer, ReplayGroup
from gnomon.training.settings import Replay

CALL = '{"type": "function", "function": {"name": "tide", "arguments": {"port": "Brest"}}}'
TALK = (
    Message("user", "How high?"),
    Message("assistant", "", "hm", tool_calls=(CALL,)),
    Message("tool", "4 m", name="tide", tool_call_id="c1"),
)


def test_prompts_come_back_with_their_tools_and_calls() -> None:
    prompts = [
        Prompt("plain", TALK[:1], "4"),
        Prompt(
            "tooled", TALK, tools=('{"name": "tide", "description": "Tide."}',), chat_template_kwargs='{"x": 1}'
        ),
    ]
    completion = Completion("c", "Four.", "policy", (5, 6))
    groups = [
        ReplayGroup((Rollout(prompt, (1, 2), completion, (-0.5, -0.25), "end"),), (1.0,), 0.5)
        for prompt in prompts
    ]
    buffer, restored = ReplayBuffer(Replay(), 1), ReplayBuffer(Replay(), 1)
    buffer.add(groups)
    restored.restore(json.loads(json.dumps(buffer.state())))
    assert restored.groups == groups
