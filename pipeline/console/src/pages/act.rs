//! The dialog in which an operator confirms what changes something. It asks for the API token and for a name for the audit
//! log; the script keeps both in this tab's session storage and sends them with the request, never anywhere else.

use maud::{Markup, html};

use crate::words::Words;

pub(super) fn dialog(words: &Words) -> Markup {
    html! {
        dialog #act data-refused=(words.token_refused) data-no-answer=(words.no_answer)
            data-pause=(words.pause) data-resume=(words.resume) data-redrive=(words.send_back)
            data-pause-text=(words.pause_text) data-resume-text=(words.resume_text) data-redrive-text=(words.redrive_text)
            data-confirm=(words.confirm) data-look-first=(words.look_first) data-send-now=(words.send_now)
            data-would-be-sent=(words.would_be_sent) data-sent=(words.sent_back) data-duplicate=(words.duplicates)
            data-lost-letters=(words.lost) data-no-origin=(words.no_origin) data-nothing=(words.nothing_to_send)
            data-audit=(words.audit_row) data-no-study=(words.no_study_named) {
            form {
                h2.title {}
                p.text {}
                label { (words.your_name) input name="actor" maxlength="64" required autocomplete="off"; }
                label { (words.api_token) input name="token" type="password" required autocomplete="off"; }
                p.note { (words.token_note) }
                p.outcome role="status" hidden {}
                ul.letters hidden {}
                div.buttons {
                    button.cancel type="button" data-cancel=(words.cancel) data-close=(words.close) { (words.cancel) }
                    button.do {}
                }
            }
        }
    }
}
