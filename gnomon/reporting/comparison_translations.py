"""Texts of a comparison's report beyond those of a run's report, in English and Chinese."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "sets.kind": ("Comparison of algorithms on several data sets", "多个数据集上的算法比较"),
    "sets.leader": (
        "{algorithm} has the highest mean win rate over the data sets.",
        "{algorithm} 在各数据集上的平均胜率最高。",
    ),
    "sets.why": (
        "Judged by {judge}; no other is above it on {ahead} of {sets} data sets, which have equal weights.",
        "由 {judge} 评判；在 {sets} 个数据集中的 {ahead} 个上没有算法高于它。各数据集权重相同。",
    ),
    "sets.tied": (
        "{algorithms} have the same mean win rate over the data sets: none is ahead.",
        "{algorithms} 在各数据集上的平均胜率相同：没有算法领先。",
    ),
    "sets.why_tied": (
        "Judged by {judge}. All data sets have equal weights.",
        "由 {judge} 评判。各数据集权重相同。",
    ),
    "sets.nobody": (
        "No algorithm has a win rate on every data set yet.",
        "尚无算法在每个数据集上都有胜率。",
    ),
    "sets.waiting": ("{set} is still to run.", "{set} 尚未运行。"),
    "sets.win_rates": ("Win rates by {judge}", "{judge} 评判的胜率"),
    "sets.note": (
        "Against each data set’s own reference: means over the seeds, with the worst and the best seed; together "
        "the mean over the data sets, with the lowest and the highest of them.",
        "对各数据集自己的参考模型：取各种子的平均，附最差与最好的种子；合计取各数据集的平均，附最低与最高的数据集。",
    ),
    "sets.set": ("Data set", "数据集"),
    "sets.together": ("Together", "合计"),
    "sets.ahead": ("No other is higher on", "无算法更高的数据集"),
    "compare.kind": ("Comparison of algorithms", "算法比较"),
    "compare.seeds": ("seeds {seeds}", "随机种子 {seeds}"),
    "compare.budget_seconds": ("{seconds} s of training each", "每种算法训练 {seconds} 秒"),
    "compare.budget_tokens": ("{tokens} training tokens each", "每种算法 {tokens} 个训练词元"),
    "compare.no_budget": ("no common budget", "没有共同的预算"),
    "compare.outcome": ("Outcome", "结果"),
    "compare.clear": ("{algorithm} is ahead.", "{algorithm} 领先。"),
    "compare.alone": ("{algorithm} ran alone.", "只有 {algorithm} 完成了运行。"),
    "compare.unclear": (
        "{algorithm} has the highest mean, but no clear lead.",
        "{algorithm} 的均值最高，但没有明显领先。",
    ),
    "compare.tied": (
        "{algorithms} have the same mean win rate: none is ahead.",
        "{algorithms} 的平均胜率相同：没有算法领先。",
    ),
    "compare.why_tied": (
        "Judged by {judge}, against {reference}. More prompts or seeds may separate them.",
        "由 {judge} 评判，对手为 {reference}。增加提示或种子或可分辨。",
    ),
    "compare.nobody": ("No run is finished yet.", "尚无完成的运行。"),
    "compare.why_clear": (
        "Judged by {judge}, its worst seed has a higher win rate against {reference} than the best seed of every "
        "other algorithm.",
        "由 {judge} 评判，它最差的种子对 {reference} 的胜率也高于其他每种算法最好的种子。",
    ),
    "compare.why_unclear": (
        "Judged by {judge}, its win rate against {reference} overlaps with another's over the seeds, or there is "
        "only one seed. More seeds could decide.",
        "由 {judge} 评判，它对 {reference} 的胜率在各种子间与其他算法重叠，或者只有一个种子。增加种子可以分辨。",
    ),
    "compare.why_alone": (
        "There is nothing to compare it with.",
        "没有可以与之比较的算法。",
    ),
    "compare.why_nobody": (
        "Each run is added here when it ends.",
        "每次运行结束后会加入本页。",
    ),
    "compare.not_better": (
        "With at least one seed it does not beat {reference}.",
        "至少有一个种子下，它没有胜过 {reference}。",
    ),
    "compare.own_judge": (
        "No judge is certain to be independent of the training: a policy can learn to please its judge.",
        "没有评判者能确定独立于训练：策略可能学会讨好评判者。",
    ),
    "compare.without_budget": (
        "The algorithms had no common budget: each took the steps in its settings, so time and tokens differ.",
        "各算法没有共同的预算：每种算法按其设置的步数训练，因此时间和词元数不同。",
    ),
    "compare.failed": ("{algorithm}, seed {seed}, failed: {error}", "{algorithm}（种子 {seed}）失败：{error}"),
    "compare.missing": (
        "{algorithm}: {count} seeds still to run.",
        "{algorithm}：还有 {count} 个种子未运行。",
    ),
    "compare.frontier_title": ("Score and distance", "评分与距离"),
    "compare.frontier_note": (
        "A higher score costs distance from {reference} (KL, to the right, in nats). Up and to the left is "
        "better. Each mark is one seed; the cross is {reference}.",
        "每种算法都以远离 {reference}（横轴：KL，单位奈特）换取更高的评分。越靠左上越好。每个标记是一个种子；"
        "十字是 {reference}。",
    ),
    "compare.frontier": ("Score by {judge} over KL", "{judge} 的评分与 KL"),
    "compare.courses": ("Score over KL during training", "训练途中：评分与 KL"),
    "compare.courses_note": (
        "Only algorithms that learn from their own samples, scored by the training's reward; one line per seed, "
        "which ends at its mark.",
        "仅限从自身样本学习的算法，按训练所用奖励的评分；每条线是一个种子，终点有标记。",
    ),
    "compare.table_title": ("The algorithms side by side", "算法并列比较"),
    "compare.table_note": (
        "Means over the seeds; brackets hold the lowest and the highest seed, not a confidence interval.",
        "均为各种子的平均；方括号为最低和最高的种子，不是置信区间。",
    ),
    "compare.win_rate": ("win rate against {reference}, by {judge}", "对 {reference} 的胜率，由 {judge} 评判"),
    "compare.steps": ("steps", "步数"),
    "compare.seconds": ("training time, seconds", "训练时间，秒"),
    "compare.tokens": ("training tokens, thousands", "训练词元，千"),
    "compare.memory": ("peak memory, GB", "内存峰值，GB"),
    "compare.device_memory": ("peak GPU memory, GB", "显存峰值，GB"),
    "compare.grad_norm": ("largest gradient norm", "最大梯度范数"),
    "compare.failures": ("failed runs", "失败的运行"),
    "compare.of": ("{count} of {total}", "{count} / {total}"),
    "compare.wins_title": ("Win rates", "胜率"),
    "compare.wins_note": (
        "How often a completion is preferred to one by {reference}; the line runs from the lowest "
        "to the highest seed.",
        "回答优于 {reference} 的回答的频率；线段从最低的种子到最高的种子。",
    ),
    "compare.wins": ("Judged by {judge}", "由 {judge} 评判"),
    "compare.cost_title": ("Cost", "代价"),
    "compare.cost_note": (
        "Each run had its own process. The time is that of the whole training stage, with loading and saving the "
        "model, on the machine named below; shared stages are not counted.",
        "每次运行都在单独的进程中。时间为整个训练阶段，包括加载和保存模型，机器见下文；共享阶段不计入。",
    ),
    "compare.needs_title": ("Requirements", "各算法的需求"),
    "compare.needs_note": (
        "More models take more memory and time; an algorithm that learns from stored data needs no reward model, "
        "but judgements of the listed kind.",
        "模型越多，所需内存和时间越多；从已存数据学习的算法不需要奖励模型，但需要所列类型的判断。",
    ),
    "compare.algorithm": ("algorithm", "算法"),
    "compare.consumes": ("learns from", "学习来源"),
    "compare.reference": ("reference", "参考模型"),
    "compare.critic": ("critic", "评论家"),
    "compare.reward": ("reward", "奖励"),
    "compare.token_reward": ("token rewards", "词元奖励"),
    "compare.completions": ("completions per prompt, at least", "每条提示的回答数，至少"),
    "compare.yes": ("yes", "是"),
    "compare.no": ("no", "否"),
    "consumes.samples": ("its own samples", "自身样本"),
    "consumes.preferences": ("pairs, better and worse", "成对偏好"),
    "consumes.labels": ("completions, good or bad", "好坏标签"),
    "consumes.rankings": ("rankings", "排序"),
    "consumes.demonstrations": ("demonstrations", "示范"),
    "compare.again": (
        "The same command resumes a stopped comparison, or writes this page again. Each run has its own folder "
        "and report.",
        "同一条命令会从停止处继续，或重新生成本页。每次运行都有自己的目录和报告。",
    ),
    "compare.settings": ("The varied stage, as each algorithm ran it", "各算法所用的阶段设置"),
    "compare.runs": ("The runs", "各次运行"),
    "compare.shared": (
        "All share the stages {stages} of each seed; {stage} varies.",
        "每个种子共享阶段 {stages}；变化的是 {stage}。",
    ),
}
