//! The body of a chat completion request: the same turns as the engine gets, a system turn, then pictures before the text.
//!
//! Pictures go as PNG: what the server sees is what was sent, to the last bit. A beat goes as a video of two frames,
//! `data:video/jpeg;base64,<first>,<second>`: vLLM's form for frames that somebody chose, which it splits at the comma
//! and decodes one by one, each by what it is (here PNG too). An answer that has begun goes as the assistant's last turn,
//! to be continued (`continue_final_message`).

use std::io::Cursor;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};
use stage::{Image, ModelRequest, Picture};

use super::AskError;
use crate::schema;

/// A request, greedy and without reasoning.
pub(super) struct Question(Value);

impl Question {
    pub(super) fn new(model: &str, request: &ModelRequest) -> Result<Self, AskError> {
        let mut content = request.pictures.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        content.push(json!({"type": "text", "text": request.prompt}));
        let system = request.system.as_ref().map(|system| json!({"role": "system", "content": system}));
        let messages: Vec<Value> =
            system.into_iter().chain([json!({"role": "user", "content": content})]).collect();
        let mut question = Self(json!({
            "model": model, "messages": messages, "max_tokens": request.max_new_tokens, "temperature": 0,
            "logprobs": true, "chat_template_kwargs": {"enable_thinking": false},
        }));
        question.set_answer_prefix(&request.answer_prefix);
        Ok(question)
    }

    pub(super) fn body(&self) -> &Value {
        &self.0
    }

    /// The answer, prefix included, is held to the request's schema.
    pub(super) fn held_to_schema(mut self, request: &ModelRequest) -> Result<Self, AskError> {
        if let Some(schema) = schema::of(request)? {
            let named = json!({"name": "answer", "strict": true, "schema": schema});
            self.set("response_format", json!({"type": "json_schema", "json_schema": named}));
        }
        Ok(self)
    }

    /// One token is wanted, with the likeliest in its place.
    pub(super) fn of_one_token(mut self, top: u32) -> Self {
        self.set("max_tokens", json!(1));
        self.set("top_logprobs", json!(top.max(1)));
        self
    }

    /// What the answer begins with, in place of what it began with before.
    pub(super) fn set_answer_prefix(&mut self, prefix: &str) {
        let Value::Object(fields) = &mut self.0 else { return };
        // Not sent where nothing is continued: other servers need not know them.
        fields.remove("continue_final_message");
        fields.remove("add_generation_prompt");
        let Some(messages) = fields.get_mut("messages").and_then(Value::as_array_mut) else { return };
        messages.retain(|message| message["role"] != "assistant");
        if !prefix.is_empty() {
            messages.push(json!({"role": "assistant", "content": prefix}));
            self.set("continue_final_message", json!(true));
            self.set("add_generation_prompt", json!(false));
        }
    }

    fn set(&mut self, field: &str, value: Value) {
        if let Value::Object(fields) = &mut self.0 {
            fields.insert(field.to_owned(), value);
        }
    }
}

fn part(picture: &Picture) -> Result<Value, AskError> {
    Ok(match picture {
        Picture::Still(image) => {
            json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", png(image)?)}})
        }
        Picture::Beat([diastole, systole]) => {
            let url = format!("data:video/jpeg;base64,{},{}", png(diastole)?, png(systole)?);
            json!({"type": "video_url", "video_url": {"url": url}})
        }
    })
}

/// PNG in base64.
fn png(image: &Image) -> Result<String, AskError> {
    let Image { width, height, rgb } = image;
    let (width, height) = (*width, *height);
    let picture =
        RgbImage::from_raw(width, height, rgb.to_vec()).ok_or(AskError::Picture { width, height })?;
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(|_| AskError::Picture { width, height })?;
    Ok(STANDARD.encode(png.into_inner()))
}
