//! `generate`: one request to the engine, nothing around it.

use std::{io::Write as _, path::Path};

use glm46v::{
    Capture, Captured, Checkpoint, Engine, EngineOptions, FinishReason, GenerateOptions, Generation, Message,
    Part, Prompt, Request, Role, Thinking,
};
use serde_json::json;

use crate::{
    cli::{Generate, Options},
    exit::{Exit, Failure},
    whole_file,
};

pub(crate) fn run(arguments: &Generate, options: &Options) -> Result<Exit, Failure> {
    let mut checkpoint = Checkpoint::open(&arguments.model).map_err(Failure::usage)?;
    if let Some(adapter) = &arguments.adapter {
        checkpoint = checkpoint.with_adapter(adapter).map_err(Failure::usage)?;
    }
    let engine = Engine::start(checkpoint, EngineOptions::default())?;
    let mut content = Vec::new();
    for path in &arguments.image {
        let picture = image::open(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        content.push(Part::Image(picture.into_rgb8()));
    }
    content.push(Part::Text(arguments.prompt.clone()));
    let system = arguments.system.as_deref().map(|text| Message::text(Role::System, text));
    let messages = system.into_iter().chain([Message { role: Role::User, content }]).collect();
    let thinking = if arguments.thinking { Thinking::On } else { Thinking::Off };
    let how = GenerateOptions {
        max_new_tokens: arguments.max_new_tokens as usize,
        top_logprobs: Some(0),
        capture: if arguments.logits.is_some() { Capture::Logits } else { Capture::Nothing },
        ..GenerateOptions::default()
    };
    let answer = engine.handle().generate(&Request {
        answer_prefix: arguments.answer_prefix.clone(),
        ..Request::new(Prompt { messages, thinking }, how)
    })?;
    if let (Some(path), Some(captured)) = (&arguments.logits, &answer.captured) {
        write_logits(path, captured)?;
    }
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &to_json(&answer))?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", answer.text)?;
    }
    Ok(Exit::Done)
}

fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Repetition => "repetition",
    }
}

fn to_json(answer: &Generation) -> serde_json::Value {
    let ms = |span: std::time::Duration| span.as_secs_f64() * 1000.0;
    json!({
        "text": answer.text,
        "log_probability": answer.log_probability(),
        "finish_reason": finish(answer.finish_reason),
        "prompt_tokens": answer.prompt_tokens,
        "vision_tokens": answer.vision_tokens,
        "generated_tokens": answer.generated_tokens(),
        "timings_ms": {
            "preprocess": ms(answer.timings.preprocess), "vision": ms(answer.timings.vision),
            "prefill": ms(answer.timings.prefill), "decode": ms(answer.timings.decode),
        },
    })
}

/// `input_ids` i64 `[L]` and `logits` f32 `[steps, vocab]`, step 0 at the last prompt position. Whole or not at all.
fn write_logits(path: &Path, captured: &Captured) -> Result<(), Failure> {
    use safetensors::{Dtype, tensor::TensorView};
    let ids: Vec<u8> = captured.input_ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let steps = captured.step_logits.len();
    let vocabulary = captured.step_logits.first().map_or(0, Vec::len);
    let logits: Vec<u8> =
        captured.step_logits.iter().flatten().flat_map(|logit| logit.to_le_bytes()).collect();
    let tensors = [
        ("input_ids", TensorView::new(Dtype::I64, vec![captured.input_ids.len()], &ids)?),
        ("logits", TensorView::new(Dtype::F32, vec![steps, vocabulary], &logits)?),
    ];
    let bytes = safetensors::serialize(tensors, None)?;
    whole_file::write(path, &bytes)?;
    Ok(())
}
