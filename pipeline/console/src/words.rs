//! Every word of the pages, in both languages side by side: a page is in one language, whole.
//!
//! What is no word of ours stays as it is everywhere: codes, topics, identifiers, and the two texts of a report, which is
//! issued in both languages and shown so.

macro_rules! words {
    ($($name:ident: $en:literal, $zh:literal;)*) => {
        /// The words of one language.
        pub(crate) struct Words {
            $(pub(crate) $name: &'static str,)*
        }

        pub(crate) static ENGLISH: Words = Words { $($name: $en,)* };
        pub(crate) static CHINESE: Words = Words { $($name: $zh,)* };
    };
}

words! {
    // The frame of every page.
    language: "en", "zh-CN";
    overview: "Overview", "总览";
    pipeline: "Pipeline", "流水线";
    studies: "Studies", "检查";
    dead_letters: "Dead letters", "死信";
    replays: "Replays", "回放";
    acquisition: "Acquisition", "采集";
    menu: "Main menu", "主菜单";
    disclaimer: "For reference only; a licensed physician decides. Not a medical device.",
        "仅供参考，须经执业医师复核确认。本系统不是医疗器械。";
    not_up_to_date: "Not up to date: no answer since", "内容未更新，连接中断于";

    // Refusals.
    unavailable: "A part of the system does not answer", "系统的一部分没有应答";
    unavailable_text: "Nothing is lost: studies wait where they are. This page tries again by itself.",
        "检查不会丢失，仍在原处等待。本页会自动重试。";
    unknown: "Not known here", "此处没有该内容";
    unknown_text: "The address names nothing that this system has.", "该地址在本系统中没有对应的内容。";
    malformed: "The address cannot be read", "无法识别该地址";
    malformed_text: "A part of it is not what this page takes.", "地址中有本页不接受的内容。";
    refused: "That cannot be done", "无法执行";
    refused_text: "The system declined the question.", "系统拒绝了该请求。";
    failed: "The question could not be answered", "无法回答该请求";
    failed_text: "The cause stands in the log of the process.", "原因见进程日志。";

    // Studies by state.
    received: "Received", "已接收";
    in_progress: "In progress", "处理中";
    reported: "Reported", "已出报告";
    rejected: "Rejected", "质量不合格";
    dead_lettered: "Dead-lettered", "处理失败";
    superseded: "Superseded", "已被取代";
    unaccounted: "Unaccounted", "下落不明";
    spooled: "safe in the spool, waiting for the broker", "已安全落盘，等待发布";
    latest_studies: "Latest studies", "最近的检查";

    // The pipeline.
    intake: "Intake", "接收";
    quality_gate: "Quality gate", "质量检查";
    keyframes: "Keyframes", "关键帧";
    inference: "Inference", "模型推理";
    reporting: "Reporting", "报告生成";
    store: "Store", "入库";
    flow: "What is under way", "当前流程";
    flow_drawing: "The steps of the pipeline and what each of them does now", "流水线各步骤及其当前状态";
    everything_else: "every event and rejection", "全部事件与不合格";
    rate: "Rate", "速率";
    in_flight: "In flight", "在处理";
    waiting: "Waiting", "积压";
    urgent: "urgent", "加急";
    oldest: "Oldest", "最久等待";
    drained_in: "Drained in", "预计排空";
    not_draining: "not draining", "未在减少";
    unknown_yet: "not known yet", "尚不明";
    errors: "Errors", "错误";
    busy: "Busy", "忙碌";
    blocked: "Blocked", "受阻";
    share: "share of the last few seconds", "占最近数秒的比例";
    idle: "idle", "空闲";
    works: "working", "运行中";
    is_busy: "busy", "繁忙";
    is_blocked: "blocked", "受阻";
    is_paused: "paused", "已暂停";
    waits: "waits for a part", "等待依赖";
    no_numbers: "no numbers", "无数据";
    in_spool: "In the spool", "待发布";
    step: "Step", "步骤";
    state: "State", "状态";
    action: "Action", "操作";
    pause: "Pause", "暂停";
    resume: "Resume", "恢复";
    not_measured: "Not measured: the broker has not answered.", "尚未测量：消息队列没有应答。";
    pause_text: "Every process stops taking new records for this step; what has begun is finished. Studies wait and are not lost.",
        "所有进程将停止为该步骤领取新记录，已开始的会完成。检查会等待，不会丢失。";
    resume_text: "Every process takes records for this step again.", "所有进程将恢复为该步骤领取记录。";

    // Charts.
    last_hour: "The last hour", "最近一小时";
    chart_waiting: "Records waiting", "积压记录数";
    chart_oldest: "Oldest record, seconds", "最久等待（秒）";
    chart_end_to_end: "From received to done, seconds", "从接收到完成（秒）";
    chart_rate: "Records done per second", "每秒完成记录数";
    median: "Median", "中位数";
    percentile_95: "95th percentile", "第95百分位";
    time: "Time", "时间";
    no_history: "There is no history yet.", "暂无历史数据。";
    no_script: "Live numbers, charts and actions need JavaScript; this page renews itself without. The same is done by the command line: prescreen top, pause, resume, redrive.",
        "实时数据、图表和操作需要 JavaScript；没有时本页会定时刷新。也可使用命令行：prescreen top、pause、resume、redrive。";

    // Studies and one study.
    study: "Study", "检查";
    find: "Find", "查找";
    any_state: "any state", "全部状态";
    any_time: "any time", "全部时间";
    last_1h: "last hour", "最近 1 小时";
    last_24h: "last 24 hours", "最近 24 小时";
    last_7d: "last 7 days", "最近 7 天";
    last_30d: "last 30 days", "最近 30 天";
    since: "Received", "接收时间";
    no_study: "No study.", "没有检查。";
    reason: "Reason", "原因";
    kind: "Kind", "类型";
    instances: "Instances", "实例数";
    received_utc: "Received (UTC)", "接收时间 (UTC)";
    took: "Took", "用时";
    shown_at_most: "The newest are shown, at most", "仅显示最新的，最多";
    timeline: "Timeline", "时间线";
    no_event: "Nothing has been heard of it yet.", "尚无事件。";
    when_utc: "When (UTC)", "时间 (UTC)";
    revision: "Rev.", "版本";
    what: "What", "内容";
    topic: "Topic", "主题";
    waited: "Since the step before", "距上一步";
    deliveries: "Deliveries", "送达次数";
    attempts: "Attempts", "尝试次数";
    gave_up: "gave up", "放弃处理";
    versions: "Versions", "版本信息";
    model: "Model", "模型";
    inference_fingerprint: "Inference", "推理指纹";
    run_fingerprint: "Run", "运行指纹";
    codes: "Codes", "编码";

    // A report.
    preliminary_report: "Preliminary report", "初步报告";
    ai_draft: "AI draft", "人工智能草稿";
    other_version: "It was stored by a version that this build cannot show.", "由其他版本存储，本版本无法显示。";
    no_judgement: "No judgement", "不作判断";
    ejection_fraction: "Left ventricular ejection fraction", "左心室射血分数";
    ef_scale: "Ejection fraction from 0 to 100 percent", "射血分数，0 至 100%";
    band_reduced: "reduced", "减低";
    band_mild: "mildly", "轻度";
    band_preserved: "preserved", "保留";
    interval: "interval", "区间";
    no_interval: "No interval", "无区间";
    without_calibration: "without calibration", "未校准";
    contours: "Contours", "轮廓";
    calibration_set: "Calibration set", "校准集";
    group: "group", "分组";
    frame: "frame", "帧";
    frames: "frames", "帧";
    beat: "beat", "心搏";
    found_by: "by", "依据";
    end_diastole: "ED end-diastole", "ED 舒张末";
    end_systole: "ES end-systole", "ES 收缩末";
    tile: "tile", "图块";
    normalised: "stain normalised", "染色归一";
    unfit: "Not fit to be read", "图像不合格";
    instance: "Instance", "实例";
    check: "Check", "检查项";
    value: "Value", "数值";
    threshold: "Threshold", "阈值";
    verdict: "Verdict", "结论";
    pass: "pass", "通过";
    warn: "warn", "警告";
    reject: "reject", "不合格";

    // Acquisition. The verdicts on a loop are in both languages on every such page: it hangs in a room.
    choose_machine: "Each loop is looked at as it arrives, while the patient is still there. Choose a machine.",
        "图像到达即时质控，患者尚未离开。请选择设备。";
    nothing_arrived: "Nothing has arrived yet.", "暂无图像。";
    nothing_from_machine: "Nothing has arrived from this machine yet.", "该设备暂无图像。";
    all_machines: "All machines", "全部设备";
    further: "Further", "其他图像";
    provisional_note: "The study's own verdict follows its completion and alone counts; a loop may be missing here when many arrive at once.",
        "以检查完成后的结论为准；大量图像同时到达时，个别图像可能不在此显示。";
    loop_frame: "a frame of the loop", "图像中的一帧";
    no_frame: "No frame can be shown.", "无可显示的图像。";
    this_study: "This study", "本次检查";
    study_open: "Open; its verdict follows.", "检查未结束，结论随后给出。";
    seconds_ago: "s ago", "秒前";
    minutes_ago: "min ago", "分钟前";
    hours_ago: "h ago", "小时前";
    days_ago: "days ago", "天前";

    // Dead letters.
    dead_letters_note: "Records that could not be processed. Each keeps its bytes and its cause; once the cause is mended, send it back to where it came from.",
        "无法处理的记录。字节与原因均已保留；原因排除后，可将其送回原主题。";
    no_dead_letter: "No dead letter.", "没有死信。";
    cause: "Cause", "原因";
    position: "Position", "位置";
    any_topic: "any topic", "全部主题";
    any_cause: "any cause", "全部原因";
    also_redriven: "also those sent back", "包括已送回的";
    filter: "Filter", "筛选";
    send_back: "Send back", "送回";
    send_all_back: "Send all matching back…", "送回全部匹配项…";
    sent_back: "sent back", "已送回";
    no_study_named: "no study", "无检查";
    redrive_text: "First it is only said what would be done; nothing is sent before you confirm.",
        "先仅说明将如何处理；确认之前不会发送。";
    look_first: "Check what would be sent", "先检查";
    would_be_sent: "would be sent back", "将被送回";
    duplicates: "not needed: the study has ended otherwise, or went back already", "无需送回：检查已有其他结果，或已送回";
    lost: "lost: nothing is left to send", "已丢失：没有可送回的内容";
    no_origin: "without an origin", "没有原主题";
    send_now: "Send back now", "立即送回";
    nothing_to_send: "There is nothing to send.", "没有可送回的记录。";
    audit_row: "Row of the audit log", "审计记录号";

    // Acting.
    your_name: "Your name, for the audit log", "您的姓名（记入审计）";
    api_token: "API token", "API 令牌";
    token_note: "The token stands in the data directory of the system. It is kept in this tab only and forgotten when the tab closes.",
        "令牌在系统的数据目录中。仅保存在本标签页，关闭即清除。";
    cancel: "Cancel", "取消";
    close: "Close", "关闭";
    confirm: "Confirm", "确认";
    token_refused: "The token is not the right one.", "令牌不正确。";
    no_answer: "No answer from the console.", "控制台没有应答。";

    // Replay runs.
    replays_note: "Bounded runs of past studies through a candidate, judged against what is live. Nothing of them reaches a patient's report. Started by prescreen replay.",
        "用候选配置对既往检查进行有限回放，并与现行结果比较判定。回放结果不会进入患者报告。由 prescreen replay 启动。";
    no_replay: "No replay has been run.", "尚无回放。";
    run: "Run", "运行";
    progress: "Progress", "进度";
    rows: "rows", "行";
    started_utc: "Started (UTC)", "开始 (UTC)";
    finished_utc: "Ended (UTC)", "结束 (UTC)";
    started_by: "Started by", "启动者";
    plan: "Plan", "计划";
    report: "Report", "报告";
    open_report: "Open the report", "打开报告";
    no_report: "No comparison has been made yet.", "尚未进行比较。";
    failure: "Failure", "失败原因";
    promoted_utc: "Promoted (UTC)", "已上线 (UTC)";
    not_promoted: "not promoted", "未上线";
    running: "running", "运行中";
    finished: "finished", "已完成";
    run_failed: "failed", "失败";
    regression: "regression", "退步";
    inconclusive: "inconclusive", "无法判定";
    all_replays: "All replays", "全部回放";
}

impl Words {
    /// A study's state; one that is not ours stays as it is.
    pub(crate) fn study_state<'a>(&self, state: &'a str) -> &'a str {
        match state {
            "in_progress" => self.in_progress,
            "reported" => self.reported,
            "rejected" => self.rejected,
            "dead_lettered" => self.dead_lettered,
            "superseded" => self.superseded,
            other => other,
        }
    }

    /// A step of the pipeline; one that is not ours stays as it is.
    pub(crate) fn step_name<'a>(&self, step: &'a str) -> &'a str {
        match step {
            "intake" => self.intake,
            "quality_gate" | "quality-gate" => self.quality_gate,
            "keyframes" => self.keyframes,
            "inference" => self.inference,
            "reporting" => self.reporting,
            "store" => self.store,
            other => other,
        }
    }
}
