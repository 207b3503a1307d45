//! Whether the purpose applies to an instance at all. What does not apply is no failure: a full study is mostly
//! colour, Doppler, stills and other views.

use schemas::{Bilingual, Domain, NotAnalysable, ReasonCode, View};
use stage::ClipHeader;

use crate::rule::bilingual;

/// Why the purpose does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotApplicable {
    /// Intake or the decoder cannot look at it.
    NotAnalysable(NotAnalysable),
    /// The study is neither echo nor pathology.
    UnknownDomain,
    /// No tissue region in B-mode.
    NotBMode,
    /// Colour or spectral Doppler.
    Doppler,
    /// A still where a loop is needed.
    SingleFrame,
    /// The header names a view that is not apical.
    NotApical,
    /// A coarser level of a slide whose finest level is another instance.
    LowerResolution,
}

impl NotApplicable {
    /// What the header alone says about an echo instance.
    pub(crate) fn for_ejection_fraction(header: &ClipHeader) -> Option<Self> {
        if header.doppler {
            Some(Self::Doppler)
        } else if !header.b_mode {
            Some(Self::NotBMode)
        } else if header.frames < 2 {
            Some(Self::SingleFrame)
        } else if !matches!(header.view, None | Some(View::A4C | View::A2C)) {
            Some(Self::NotApical)
        } else {
            None
        }
    }

    pub(crate) fn code(self) -> ReasonCode {
        ReasonCode::known(match self {
            Self::NotAnalysable(NotAnalysable::TransferSyntax) => "UNSUPPORTED_TRANSFER_SYNTAX",
            Self::NotAnalysable(NotAnalysable::NotAnImage) => "NOT_AN_IMAGE",
            Self::NotAnalysable(NotAnalysable::Modality) => "UNSUPPORTED_MODALITY",
            Self::NotAnalysable(NotAnalysable::LabelOrOverview) => "LABEL_OR_OVERVIEW",
            Self::NotAnalysable(NotAnalysable::OwnResult) => "OWN_RESULT",
            Self::UnknownDomain => "UNKNOWN_DOMAIN",
            Self::NotBMode => "NOT_BMODE",
            Self::Doppler => "COLOR_DOPPLER",
            Self::SingleFrame => "SINGLE_FRAME",
            Self::NotApical => "NOT_APICAL",
            Self::LowerResolution => "LOWER_RESOLUTION_LEVEL",
        })
    }

    pub(crate) fn advice(self) -> Bilingual {
        bilingual(match self {
            Self::NotAnalysable(NotAnalysable::TransferSyntax) => [
                "The compression of this instance cannot be read here; set the device to send JPEG or uncompressed.",
                "本系统无法读取该实例的压缩格式；请将设备设置为以 JPEG 或无压缩方式发送。",
            ],
            Self::NotAnalysable(NotAnalysable::NotAnImage) => {
                ["This object holds no picture; nothing to do.", "该对象不含图像，无需处理。"]
            }
            Self::NotAnalysable(NotAnalysable::Modality) => {
                ["This kind of image is not read here; nothing to do.", "本系统不分析此类图像，无需处理。"]
            }
            Self::NotAnalysable(NotAnalysable::LabelOrOverview) => [
                "A label or overview image may show identity and is never opened; nothing to do.",
                "标签图或概览图可能含身份信息，系统不会打开，无需处理。",
            ],
            Self::NotAnalysable(NotAnalysable::OwnResult) => {
                ["This is a result of this system; nothing to do.", "这是本系统自身的结果，无需处理。"]
            }
            Self::UnknownDomain => [
                "Only echocardiography loops and H&E pathology images are read here; check the modality and where the study was sent.",
                "本系统仅分析超声心动图动态图像和 H&E 病理图像；请核对检查类型与发送目的地。",
            ],
            Self::NotBMode => [
                "Not a B-mode picture; an ejection fraction needs an apical B-mode loop.",
                "非二维（B 模式）图像；评估射血分数需要心尖二维动态图像。",
            ],
            Self::Doppler => [
                "Colour or spectral Doppler; an ejection fraction needs an apical B-mode loop without colour.",
                "彩色或频谱多普勒图像；评估射血分数需要不带彩色的心尖二维动态图像。",
            ],
            Self::SingleFrame => [
                "A still frame; an ejection fraction needs a loop of at least one heart beat.",
                "单帧静态图像；评估射血分数需要至少一个心动周期的动态图像。",
            ],
            Self::NotApical => [
                "Not an apical view; an ejection fraction needs an apical four- or two-chamber loop.",
                "非心尖切面；评估射血分数需要心尖四腔或两腔动态图像。",
            ],
            Self::LowerResolution => [
                "A coarser level of a slide; the slide is judged by its finest level, nothing to do.",
                "这是切片的低分辨率层级；切片按最高分辨率层级评估，无需处理。",
            ],
        })
    }

    /// Why nothing in a study of this domain could be used.
    pub(crate) fn study_advice(domain: Domain) -> Bilingual {
        bilingual(match domain {
            Domain::Echo => [
                "No instance of this study suits the ejection fraction: acquire an apical four-chamber B-mode loop of at least one and a half beats.",
                "该检查中没有适合评估射血分数的图像：请采集至少一个半心动周期的心尖四腔二维动态图像。",
            ],
            Domain::Pathology => [
                "No instance of this study is a readable slide or field of view: send an H&E slide or a picture of it.",
                "该检查中没有可分析的切片或视野图像：请发送 H&E 切片或视野图像。",
            ],
            Domain::Unknown => [
                "This study holds neither an echocardiography loop nor an H&E pathology image; it is kept and not read.",
                "该检查既无超声心动图动态图像也无 H&E 病理图像；已保存，不作分析。",
            ],
        })
    }
}
