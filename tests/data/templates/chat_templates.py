"""Chat templates of well-known families in a minimal form: how they frame turns, calls, results and reasoning."""

from __future__ import annotations

from typing import Any

from tiny import byte_tokenizer
from tokenizers import AddedToken

_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
)
_HERMES_CALL = (
    '<tool_call>\n{"name": "{{ c.function.name }}", '
    '"arguments": {{ c.function.arguments | tojson }}}\n</tool_call>'
)
_RESULT = "<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response>"
_START = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

# Calls as JSON between tags, after the content.
QWEN_2_5 = (
    _TOOLS + "{% for m in messages %}{% if m.role == 'tool' %}" + _RESULT + "{% else %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ '\\n' if m.content or not loop.first }}" + _HERMES_CALL + "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}" + _START
)
# Only turns after the last question keep their thoughts; the last turn has an empty thought if it has none.
QWEN_3 = (
    _TOOLS + "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'tool' %}" + _RESULT + "{% else %}<|im_start|>{{ m.role }}\n"
    "{% set parts = (m.content or '').split('</think>') %}"
    "{% set thoughts = parts[0].split('<think>')[-1].strip() if parts | length > 1 else m.reasoning_content %}"
    "{% if m.role == 'assistant' and loop.index0 > ns.last and (loop.last or thoughts) %}"
    "<think>\n{{ thoughts }}\n</think>\n\n{% endif %}{{ parts[-1].lstrip('\n') }}"
    "{% for c in m.tool_calls or [] %}{{ '\n' if m.content or not loop.first }}"
    + _HERMES_CALL
    + "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# The generation prompt opens the thoughts.
QWEN_3_THINKING = QWEN_3.replace(
    "</think>\n\n{% endif %}{% endif %}", "</think>\n\n{% else %}<think>\n{% endif %}{% endif %}"
)
# One call a turn, in place of the content; a result is JSON text.
LLAMA_3_1 = (
    "{{ bos_token }}{% if tools %}<|start_header_id|>system<|end_header_id|>\n\n"
    "{% for t in tools %}{{ t | tojson(indent=4) }}{% endfor %}<|eot_id|>{% endif %}"
    "{% for m in messages %}{% set role = 'ipython' if m.role == 'tool' else m.role %}"
    "<|start_header_id|>{{ role }}<|end_header_id|>\n\n{% if m.tool_calls %}"
    "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at once') }}{% endif %}"
    "{% set f = m.tool_calls[0].function %}"
    '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}'
    "{% elif m.role == 'tool' %}{{ {'output': m.content} | tojson }}"
    "{% else %}{{ m.content | trim }}{% endif %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Tools stand before the last question; calls need ids of nine characters; no generation prompt.
MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools and loop.index0 == ns.last %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
    "{% if not c.id or c.id | length != 9 %}{{ raise_exception('ids of calls have nine characters') }}{% endif %}"
    '{{ (c.function | tojson)[:-1] }}, "id": "{{ c.id }}"}{{ \', \' if not loop.last }}{% endfor %}]</s>'
    "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ {'content': m.content, 'call_id': m.tool_call_id} | tojson }}"
    "[/TOOL_RESULTS]{% elif m.role == 'assistant' %}{{ m.content }}</s>"
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)
# Neither a system message nor tools; the assistant is called model.
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Arguments are joined as a text; the generation prompt follows a question only.
DEEPSEEK = (
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}"
    "{% if m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'tool' %}<|output_begin|>{{ m.content }}<|output_end|>"
    "{% else %}{% if loop.index0 and messages[loop.index0 - 1].role == 'user' %}<|Assistant|>{% endif %}"
    "{{ m.content.split('</think>')[-1] }}{% for c in m.tool_calls or [] %}"
    "{{ '<|call_begin|>' + c.function.name + '\\n' + c.function.arguments + '<|call_end|>' }}{% endfor %}</s>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role == 'user' %}<|Assistant|>{% endif %}"
)
# Channels; a call ends with a token of its own; the last answer ends with another than earlier ones.
HARMONY = (
    "{% for t in tools or [] %}<|start|>developer<|message|>// {{ t.function.description }}\n"
    "type {{ t.function.name }} = (_: { {{ t.function.parameters.properties | join(', ') }} })<|end|>{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if m.reasoning_content and (loop.last or m.tool_calls) %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m.reasoning_content }}<|end|>{% endif %}"
    "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
    "<|start|>assistant<|channel|>commentary to={{ f.name }}<|message|>{{ f.arguments | tojson }}<|call|>"
    "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endif %}"
    "{% else %}<|start|>{{ m.name or m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# The next turn's header ends a turn; each argument has tags of its own.
GLM = (
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}"
    "{% if m.role == 'tool' %}<|observation|>\n<tool_response>{{ m.content }}</tool_response>"
    "{% elif m.role == 'assistant' %}<|assistant|>\n{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments.items() %}<arg_key>{{ k }}</arg_key>"
    "<arg_value>{{ v if v is string else v | tojson }}</arg_value>{% endfor %}</tool_call>{% endfor %}"
    "{% else %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Arguments are printed as they are, and only where there is no content.
PHI_4 = (
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.content %}{{ m.content }}{% else %}{% for c in m.tool_calls or [] %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments }}}{% endfor %}{% endif %}<|end|>'
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Tools, but neither calls nor reasoning.
LFM_2 = (
    _TOOLS + "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + _START
)

SPECIAL = {
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]", "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "</s>", "<start_of_turn>",
    "<end_of_turn>", "<|User|>", "<|Assistant|>", "<|call_begin|>", "<|call_end|>", "<|output_begin|>",
    "<|output_end|>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>", "<|user|>",
    "<|assistant|>", "<|observation|>", "<|system|>", "<|tool|>",
}  # fmt: skip
MERELY_ADDED = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")


def with_template(template: str) -> Any:
    """A tokenizer with a template, whose control tokens it has."""
    tokenizer = byte_tokenizer(chat=True)
    tokens = sorted(token for token in SPECIAL if token in template)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.add_tokens([AddedToken(token, special=False) for token in MERELY_ADDED if token in template])
    if "</s>" in tokens:
        tokenizer.eos_token = "</s>"
    tokenizer.chat_template = template
    return tokenizer
