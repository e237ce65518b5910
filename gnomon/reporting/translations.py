"""All texts of a report in English and Chinese.

Texts are plain: no markup, and `{names}` for values. A key is a family and a name; some families (`kind`,
`metric`, `split`, `check` and their notes) are looked up by names in the run folder.
"""

from __future__ import annotations

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # name → language tag for browsers

TEXTS: dict[str, tuple[str, str]] = {
    # The page
    "page.kind": ("Alignment report", "对齐报告"),
    "page.model": ("model {model}", "模型 {model}"),
    "page.seed": ("seed {seed}", "随机种子 {seed}"),
    "page.started": ("started {started}", "开始于 {started}"),
    "page.footer": (
        "Made by Gnomon only from the files of the run folder. This page loads nothing from the network.",
        "由 Gnomon 仅根据运行目录中的文件生成。本页不从网络加载任何内容。",
    ),
    "page.nothing": ("(empty)", "（空）"),
    # The verdict
    "verdict.title": ("Verdict", "结论"),
    "verdict.better": ("{model} is better than {reference}.", "{model} 优于 {reference}。"),
    "verdict.failed_check": (
        "{model} wins against {reference}, but fails a check.",
        "{model} 胜过 {reference}，但有检查未通过。",
    ),
    "verdict.nothing_learned": (
        "{model} wins against {reference}, but a training stage learned nothing.",
        "{model} 胜过 {reference}，但有训练阶段什么也没有学到。",
    ),
    "verdict.own_judge": (
        "{model} beats {reference} only according to a judge that took part in its training.",
        "只有参与训练的评判者认为 {model} 胜过 {reference}。",
    ),
    "verdict.not_unanimous": (
        "The judges do not agree that {model} is better than {reference}.",
        "对于 {model} 是否优于 {reference}，评判者意见不一。",
    ),
    "verdict.unclear": (
        "It is not shown that {model} is better than {reference}.",
        "尚不能证明 {model} 优于 {reference}。",
    ),
    "verdict.worse": ("{model} is worse than {reference}.", "{model} 不如 {reference}。"),
    "verdict.none": ("No verdict yet.", "尚无结论。"),
    "verdict.why_better": (
        "Every judge that took no part in the training prefers it, with the whole 95% interval above one half, "
        "and no check failed.",
        "每一位未参与训练的评判者都更偏好它，整个 95% 区间都高于二分之一，且没有检查未通过。",
    ),
    "verdict.why_failed_check": (
        "Every independent judge prefers it, but read the warning below before you use it.",
        "每一位独立评判者都更偏好它，但使用之前请先阅读下面的警告。",
    ),
    "verdict.why_nothing_learned": (
        "Every independent judge prefers it, but the stage named below cannot be the reason.",
        "每一位独立评判者都更偏好它，但原因不可能是下面列出的阶段。",
    ),
    "verdict.why_own_judge": (
        "A policy can learn to please its judge without getting better. Use another judge.",
        "策略可能学会讨好评判者而并未变好。请换一位评判者来评。",
    ),
    "verdict.why_not_unanimous": (
        "At least one finds it better, and at least one does not.",
        "至少有一位认为它更好，也至少有一位并不这么认为。",
    ),
    "verdict.why_unclear": (
        "The 95% intervals include one half. More prompts would narrow them.",
        "95% 区间包含二分之一。增加提示的数量可以缩小区间。",
    ),
    "verdict.why_worse": (
        "At least one judge finds it worse, and no independent one finds it better.",
        "至少有一位评判者认为它更差，且没有独立评判者认为它更好。",
    ),
    "verdict.why_none": (
        "This run holds no finished comparison of two models.",
        "本次运行没有已完成的模型比较。",
    ),
    "verdict.win_rate": ("win rate, judged by {judge}", "胜率，由 {judge} 评判"),
    "verdict.counts": ("{wins} won, {ties} tied, {losses} lost", "{wins} 胜，{ties} 平，{losses} 负"),
    "verdict.scope": (
        "{model} against {reference} on {prompts} prompts, {completions} completions each. A tie counts as half "
        "a win; brackets hold 95% intervals.",
        "{model} 对 {reference}：{prompts} 条提示，每条 {completions} 个回答。平局算半胜；方括号为 95% 区间。",
    ),
    "verdict.failed": (
        "Check failed: {demand}; measured {value}.",
        "检查未通过：{demand}；实测 {value}。",
    ),
    "verdict.stage_learned_nothing": (
        "The training stage {stage} learned nothing: {reason}.",
        "训练阶段 {stage} 什么也没有学到：{reason}。",
    ),
    "verdict.no_independent": (
        "No judge of this comparison is independent of the training.",
        "本次比较中没有独立于训练的评判者。",
    ),
    "verdict.dependent": (
        "{judge} does not count as independent, although the recipe lists it: {why}.",
        "{judge} 不算独立评判者，尽管配方如此声明：{why}。",
    ),
    "dependence.reward": ("training used it as its reward", "训练以它为奖励"),
    "dependence.derived": (
        "it was trained from a model that rewarded the training",
        "它由给训练打分的模型继续训练而来",
    ),
    "dependence.weights": (
        "its weights are those of a model that rewarded the training",
        "它的权重与给训练打分的模型相同",
    ),
    "dependence.rows": (
        "{count} of the {of} texts it learned from were also used in the training",
        "它学习的 {of} 条文本中有 {count} 条也被训练读过",
    ),
    "evaluation.best_of": (
        "{model}: its KL to {candidate} is at most {bound} nats for any judge; about {estimate} by the "
        "probabilities of the texts (Beirami et al. 2024).",
        "{model}：无论评判者是谁，它对 {candidate} 的 KL 至多为 {bound} nat；"
        "按文本概率估计约为 {estimate}（Beirami 等 2024）。",
    ),
    "judge.independent": ("independent", "独立"),
    "judge.involved": ("took part in training", "参与了训练"),
    "finding.better": ("better", "更好"),
    "finding.worse": ("worse", "更差"),
    "finding.unclear": ("undecided", "未定"),
    "gap.unfinished": ("{stage} is not finished and is left out.", "{stage} 尚未完成，未列入报告。"),
    "gap.unreadable": (
        "The result of {stage} cannot be read and is left out.",
        "{stage} 的结果无法读取，未列入报告。",
    ),
    # The route
    "route.title": ("How it was done", "过程"),
    "route.feedback": (
        "{ratings} ratings of {items} texts gave {preferences} preferences and {demonstrations} demonstrations.",
        "由 {items} 篇文本的 {ratings} 次评分得到 {preferences} 条偏好和 {demonstrations} 条示范。",
    ),
    "route.training": (
        "{steps} steps from {model}; {trainable} of {total} parameters trained.",
        "从 {model} 出发训练 {steps} 步；{total} 个参数中训练了 {trainable} 个。",
    ),
    "route.evaluation": (
        "{models} models, {judges} judges, {prompts} prompts.",
        "{models} 个模型，{judges} 位评判者，{prompts} 条提示。",
    ),
    "route.unfinished": ("not finished", "未完成"),
    "route.unreadable": ("cannot be read", "无法读取"),
    "kind.feedback": ("Human judgement", "人类判断"),
    "kind.sft": ("Supervised fine-tuning", "监督微调"),
    "kind.reward_model": ("Reward model", "奖励模型"),
    "kind.expert_iteration": ("Expert iteration", "专家迭代"),
    "kind.online_dpo": ("Online preferences (DPO)", "在线偏好优化（DPO）"),
    "kind.evaluation": ("Evaluation", "评估"),
    "learned.samples": ("Reinforcement learning ({name})", "强化学习（{name}）"),
    "learned.preferences": ("Preference optimization ({name})", "偏好优化（{name}）"),
    "learned.labels": ("Good and bad answers ({name})", "好坏标签优化（{name}）"),
    "learned.rankings": ("Rankings ({name})", "排序优化（{name}）"),
    "time.seconds": ("{s} s", "{s} 秒"),
    "time.minutes": ("{m} min {s} s", "{m} 分 {s} 秒"),
    "time.hours": ("{h} h {m} min", "{h} 小时 {m} 分"),
    # Feedback
    "feedback.note": (
        "The ratings, the agreement among raters, and so the best that a model can reach. Brackets hold 95% "
        "intervals.",
        "评分、评分者之间的一致程度，以及由此得出的模型所能达到的上限。方括号内为 95% 区间。",
    ),
    "feedback.items": ("texts judged", "被评文本"),
    "feedback.ratings": ("ratings", "评分次数"),
    "feedback.raters": ("ratings per text, {least} to {most}", "每篇评分数，{least} 到 {most}"),
    "feedback.alpha": ("Krippendorff’s alpha, {level}", "Krippendorff α，{level}"),
    "level.interval": ("interval scale", "等距尺度"),
    "level.ordinal": ("ordinal scale", "顺序尺度"),
    "level.nominal": ("nominal scale", "名义尺度"),
    "feedback.one_rater": ("correlation of one person with the rest", "单人与其余人的相关系数"),
    "feedback.pairs": ("agreement of one person on pairs", "单人在成对比较上的一致率"),
    "feedback.ties": ("pairs that people tie", "人们评为平局的对"),
    "feedback.preferences": ("preferences made", "生成的偏好"),
    "feedback.demonstrations": ("demonstrations made", "生成的示范"),
    "feedback.rejected": ("rows rejected", "被拒的行"),
    "feedback.split": ("How the texts were divided", "文本的划分"),
    "feedback.part": ("part", "部分"),
    "feedback.texts": ("texts", "文本数"),
    "split.held_out": ("held out, to evaluate the models", "留出，用来检验模型"),
    "split.judge_holdout": ("held out for judges that take no part in training", "留给不参与训练的评判者"),
    "split.training": ("training", "训练"),
    "split.validation": ("validation", "验证"),
    "split.test": ("test", "测试"),
    # Training
    "training.model": ("starts from", "起点"),
    "training.steps": ("steps", "步数"),
    "training.time": ("time", "用时"),
    "training.parameters": ("parameters trained", "训练的参数"),
    "training.of": ("of {total}", "共 {total}"),
    "training.device": ("device", "设备"),
    "training.memory": ("peak memory", "内存峰值"),
    "training.curves": (
        "Steps run from left to right. Where there are many, the faint line is each step and the bold one a "
        "running mean. Beside each title: its first and its last value.",
        "横轴为训练步数。步数较多时，浅线为每一步，粗线为滑动平均。标题旁为首值与末值。",
    ),
    "training.nothing_learned": (
        "Nothing was learned here: {reason}.",
        "这里什么也没有学到：{reason}。",
    ),
    "training.reward_failures": (
        "Completions on which the reward failed; they were left out:",
        "奖励出错的回答（已略去）：",
    ),
    "learned.no_gradient": ("no step had a gradient", "没有任何一步产生梯度"),
    "learned.scores_alike": ("the scores never differed", "得分始终没有差别"),
    "learned.groups_alike": ("the scores of no group ever differed", "没有任何一组的得分有差别"),
    "training.cut_off": (
        "In {rounds} of {of} rounds every answer was cut off at the length limit; raise sampling.max_tokens.",
        "{of} 轮中有 {rounds} 轮的全部回答都在长度上限处被截断；请调大 sampling.max_tokens。",
    ),
    "training.without_variance": (
        "In {rounds} of {of} rounds all compared scores were equal, so those rounds gave no signal.",
        "{of} 轮中有 {rounds} 轮用于比较的得分没有差别，这些轮学不到东西。",
    ),
    "training.no_curves": ("No metrics were recorded.", "没有记录指标。"),
    "training.final": ("Final figures", "最终数值"),
    "metric.loss": ("Loss", "损失"),
    "metric.accuracy": ("Accuracy on pairs", "成对准确率"),
    "metric.score_mean": ("Score", "评分"),
    "metric.kl": ("Distance from the reference (KL)", "与参考模型的距离（KL）"),
    "metric.kl_coef": ("Strength of the KL penalty", "KL 惩罚的强度"),
    "metric.entropy": ("Entropy", "熵"),
    "metric.length_mean": ("Length", "长度"),
    "metric.frac_truncated": ("Unfinished completions", "未结束的回答"),
    "metric.clip_fraction": ("Clipped updates", "被截断的更新"),
    "metric.value_loss": ("Loss of the critic", "评论家的损失"),
    "metric.explained_variance": ("Variance explained by the critic", "评论家解释的方差"),
    "metric.reward_margin": ("Reward margin of the preferred side", "偏好一方的奖励间隔"),
    "metric.chosen_reward": ("Reward of preferred answers", "被偏好回答的奖励"),
    "metric.rejected_reward": ("Reward of the others", "另一方的奖励"),
    "metric.nll": ("Negative log-likelihood of preferred answers", "对被偏好回答的负对数似然"),
    "metric.frac_zero_std_groups": ("Groups without signal", "没有信号的组"),
    "metric.kl_loss": ("KL inside the loss", "损失中的 KL"),
    "metric.sft_loss": ("Loss of the SFT term", "SFT 项的损失"),
    "note.reward_margin": (
        "Should grow to the level implied by the raters’ shares.",
        "应增长到评分者比例所要求的水平。",
    ),
    "note.chosen_reward": ("Should not fall far below 0.", "不应远低于 0。"),
    "note.rejected_reward": ("Should move away from that of the preferred side.", "应与被偏好一方拉开距离。"),
    "note.nll": ("In nats per token; should stay about level.", "单位为奈特/词元；应大致持平。"),
    "note.frac_zero_std_groups": (
        "Share of prompts whose answers all scored the same; near 1 nothing is learned.",
        "所有回答得分相同的提示所占比例；接近 1 则学不到东西。",
    ),
    "note.kl_loss": ("The KL estimate in the loss, per token.", "损失中的 KL 估计值，按词元。"),
    "note.sft_loss": ("In nats per token; should not rise.", "单位为奈特/词元；不应上升。"),
    "note.loss": ("Should fall and then settle.", "应下降，然后平稳。"),
    "note.surrogate": (
        "A surrogate of which only the gradient matters; it need not fall, since its samples change.",
        "只是替代目标，有意义的是它的梯度；测量它的样本在变，所以不必下降。",
    ),
    "note.accuracy": (
        "Share of pairs in the same order as by people; one half is chance.",
        "与人的排序一致的对所占比例；二分之一即随机。",
    ),
    "note.score_mean": (
        "Mean reward of a completion; should rise.",
        "每个回答的平均奖励；应上升。",
    ),
    "note.kl": (
        "In nats per completion; small is cautious, a steep rise is a warning.",
        "单位为奈特/回答；小则谨慎，陡升须警惕。",
    ),
    "note.kl_coef": (
        "The weight of the KL penalty, adapted to keep the distance near its target.",
        "KL 惩罚的权重，自动调整以使距离接近目标。",
    ),
    "note.entropy": (
        "How undecided the policy is at each token; near zero means it has collapsed.",
        "策略在每个词元上的不确定程度；接近零意味着坍缩。",
    ),
    "note.length_mean": (
        "Mean number of tokens; a drift often reflects the judge’s taste, not quality.",
        "平均词元数；漂移往往反映评判者的口味而非质量。",
    ),
    "note.frac_truncated": (
        "Share that ran into the length limit without an end.",
        "到达长度上限仍未结束的比例。",
    ),
    "note.clip_fraction": (
        "Share of tokens whose update was clipped; around 0.1 is usual.",
        "更新被截断的词元比例；0.1 左右属正常。",
    ),
    "note.value_loss": ("Squared error of the expected return.", "对期望回报的平方误差。"),
    "note.explained_variance": (
        "1 is perfect; below 0 the critic is worse than a constant.",
        "1 为完美；低于 0 则不如常数。",
    ),
    # The reward model held against people
    "exam.title": ("Agreement with people on held-out texts", "在留出文本上与人的一致程度"),
    "exam.note": (
        "{items} held-out texts and {pairs} pairs of them. A useful judge beats the baselines and comes near to "
        "what one person achieves. Brackets hold 95% intervals.",
        "{items} 篇留出文本及其中的 {pairs} 对。有用的评判者应胜过基线，并接近单人水平。方括号为 95% 区间。",
    ),
    "exam.judge": ("judge", "评判者"),
    "exam.pearson": ("Pearson r", "Pearson r"),
    "exam.spearman": ("Spearman ρ", "Spearman ρ"),
    "exam.pairs": ("pairs right", "成对正确率"),
    "exam.accuracy": ("Pairs ranked as people rank them", "与人的排序一致的对"),
    "exam.accuracy_note": (
        "Dots are shares, bars 95% intervals; the dashed line is chance. The orange diamond is the reward model.",
        "圆点为比例，横线为 95% 区间；虚线为随机水平。橙色菱形为奖励模型。",
    ),
    "exam.scatter": ("Score and human mean", "评分与人类均值"),
    "exam.scatter_note": (
        "One dot per text; horizontal: the model’s score, vertical: the mean rating of people.",
        "每点一篇文本；横轴为模型评分，纵轴为人类平均评分。",
    ),
    "exam.calibration": ("Calibration", "校准"),
    "exam.calibration_note": (
        "Horizontal: the predicted probability that people prefer the first of two texts; vertical: the observed "
        "share. The dashed line is perfect calibration. Expected calibration error {ece}.",
        "横轴为预测的“人们更偏好第一篇”的概率，纵轴为实际比例。虚线为完美校准。期望校准误差 {ece}。",
    ),
    "predictor.model": ("reward model", "奖励模型"),
    "predictor.baseline": ("baseline", "基线"),
    "predictor.human": ("human", "人类"),
    # Evaluation
    "evaluation.scores": ("Mean score by {judge}", "{judge} 的平均分"),
    "evaluation.scores_note": (
        "Mean scores, each on the judge’s own scale; bars are 95% intervals. Orange diamond: the candidate.",
        "平均分，采用各评判者自己的尺度；横线为 95% 区间。橙色菱形为候选模型。",
    ),
    "evaluation.wins": ("Win rate of {model} against {against}", "{model} 对 {against} 的胜率"),
    "evaluation.wins_note": (
        "One row for each judge, ties counted half; bars are 95% intervals, the dashed line is one half. "
        "Orange diamonds are independent judges.",
        "每行一位评判者，平局计半；横线为 95% 区间，虚线为二分之一。橙色菱形为独立评判者。",
    ),
    "evaluation.table": ("The models side by side", "模型并列比较"),
    "evaluation.measure": ("measure", "指标"),
    "evaluation.score": ("mean score by {judge}", "{judge} 的平均分"),
    "measure.kl": ("distance from the reference, nats (KL)", "与参考模型的距离，奈特（KL）"),
    "measure.perplexity": ("perplexity", "困惑度"),
    "measure.distinct_1": ("distinct words (distinct-1)", "不同词比例（distinct-1）"),
    "measure.distinct_2": ("distinct pairs of words (distinct-2)", "不同词对比例（distinct-2）"),
    "measure.self_bleu": ("similarity between completions (self-BLEU)", "回答间的相似度（self-BLEU）"),
    "measure.length_mean": ("length, tokens", "长度，词元"),
    "measure.unfinished_share": ("unfinished completions", "未结束的回答"),
    "evaluation.win_table": ("Comparisons in pairs", "成对比较"),
    "evaluation.pair": ("comparison", "比较"),
    "evaluation.rate": ("win rate", "胜率"),
    "evaluation.counts": ("won / tied / lost", "胜 / 平 / 负"),
    "evaluation.against": ("{model} against {against}", "{model} 对 {against}"),
    "check.title": ("Checks", "检查"),
    "check.note": (
        "Requirements for a win to count. Perplexity and variety are relative to the reference model.",
        "胜利算数之前必须满足的条件。困惑度与多样性均相对于参考模型。",
    ),
    "check.demand": ("requirement", "要求"),
    "check.value": ("measured", "实测"),
    "check.low": ("95% interval from {low}", "95% 区间下端 {low}"),
    "check.result": ("result", "结果"),
    "check.passed": ("passed", "通过"),
    "check.failed": ("failed", "未通过"),
    "check.unknown": ("not checked", "未检查"),
    "demand.win_rate": (
        "by {judge}, the win rate’s 95% interval lies above {threshold}",
        "由 {judge} 评判，胜率的 95% 区间高于 {threshold}",
    ),
    "demand.perplexity": ("relative perplexity is at most {threshold}", "相对困惑度不超过 {threshold}"),
    "demand.distinct_2": (
        "relative variety (distinct-2) is at least {threshold}",
        "相对多样性（distinct-2）不低于 {threshold}",
    ),
    "demand.reward_model": (
        "{judge} agrees with people (Pearson’s r) better than the best baseline on the same texts, {threshold}",
        "{judge} 与人的一致程度（皮尔逊 r）高于同样文本上最好的基线 {threshold}",
    ),
    "demand.other": ("{name}, threshold {threshold}", "{name}，阈值 {threshold}"),
    # Texts
    "samples.title": ("Samples side by side", "样例并列"),
    "samples.note": (
        "The same prompts, answered by each model, with each judge’s score.",
        "相同的提示，由各模型作答，并附各评判者的评分。",
    ),
    "samples.more": ("Show {count} more", "再显示 {count} 条"),
    "worst.title": ("The worst samples", "最差的样例"),
    "worst.note": (
        "A mean hides the tail: these completions have the lowest scores.",
        "均值会掩盖尾部：以下回答得分最低。",
    ),
    # Reproduction
    "again.title": ("How to reproduce it", "如何复现"),
    "again.note": (
        "The same command, versions, seed and data should give the same figures on the same kind of machine.",
        "相同的命令、版本、种子和数据，在同类机器上应得到相同的数值。",
    ),
    "again.commit": ("commit", "提交"),
    "again.platform": ("platform", "平台"),
    "again.processor": ("processor", "处理器"),
    "again.cores": ("cores", "核心数"),
    "again.seed": ("seed", "随机种子"),
    "judged.title": ("The judgements behind it", "所依据的判断"),
    "judged.note": (
        "{file}: {judgements} judgements of {annotators} annotators in the project {project}.",
        "{file}：项目 {project} 中 {annotators} 位标注者的 {judgements} 次判断。",
    ),
    "judged.manifest": ("manifest", "清单"),
    "judged.changed": (
        "This file was changed after the export, so it does not match its manifest.",
        "该文件在导出后被改动，与其清单所列的文件不符。",
    ),
    "again.data": ("Data digests (SHA-256)", "数据摘要（SHA-256）"),
    "again.config": ("The whole recipe (config.yaml)", "完整配方（config.yaml）"),
}
