//! `phantom`: synthetic studies and their truth, for testing a system and never for judging patients.

use std::io::Write as _;

use phantom::{
    echo,
    pathology::{self, FieldFormat, Organisation, Output, SlideFormat},
};

use crate::{
    cli::{
        EchoEncoding, EchoPart, EchoView, Options, PathologyFormat, Phantom, PhantomEcho, PhantomPathology,
    },
    exit::{Exit, Failure},
};

pub(crate) fn run(kind: &Phantom, options: &Options) -> Result<Exit, Failure> {
    match kind {
        Phantom::Echo(arguments) => echo(arguments, options),
        Phantom::Pathology(arguments) => pathology(arguments, options),
    }
}

fn echo(arguments: &PhantomEcho, options: &Options) -> Result<Exit, Failure> {
    let corruption: Option<echo::Corruption> =
        arguments.corrupt.as_deref().map(str::parse).transpose().map_err(Failure::usage)?;
    let batch = echo::Batch { count: arguments.count as usize, seed: arguments.seed, corruption };
    let specs = batch.specs().enumerate().map(|(index, spec)| echo_spec(arguments, index, spec));
    let truths = echo::write_studies(&arguments.out, specs).map_err(|error| match error {
        echo::EchoError::Spec(error) => Failure::usage(error),
        other => other.into(),
    })?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &truths)?;
        writeln!(out)?;
    } else {
        for truth in &truths.studies {
            writeln!(
                out,
                "{}  {}  EF {:.1} %  {:.0} beats/min",
                truth.study_uid,
                truth.cine.view.name(),
                truth.ef_percent,
                truth.heart_rate
            )?;
        }
        writeln!(out, "{} studies and truth.json in {}", truths.studies.len(), arguments.out.display())?;
    }
    Ok(Exit::Done)
}

/// Study `index` of a batch as the arguments want it.
fn echo_spec(arguments: &PhantomEcho, index: usize, mut spec: echo::EchoSpec) -> echo::EchoSpec {
    spec.encoding = match arguments.encoding {
        EchoEncoding::Jpeg => echo::Encoding::Jpeg,
        EchoEncoding::Native => echo::Encoding::Native,
    };
    spec.omissions = arguments.omit.iter().map(|part| omission(*part)).collect();
    if let Some(instances) = arguments.loops {
        return spec.with_exam(usize::from(instances));
    }
    if let Some(view) = arguments.view {
        let view = match view {
            EchoView::A4c => echo::View::A4c,
            EchoView::A2c => echo::View::A2c,
            EchoView::Plax => echo::View::Plax,
            EchoView::Psax => echo::View::Psax,
            EchoView::Subcostal => echo::View::Subcostal,
            EchoView::Mixed => echo::View::ALL[index % echo::View::ALL.len()],
        };
        spec.contents = vec![echo::Content::Loop(view), echo::Content::Still(view)];
    }
    spec
}

fn omission(part: EchoPart) -> echo::Omission {
    match part {
        EchoPart::View => echo::Omission::View,
        EchoPart::RWaves => echo::Omission::RWaves,
        EchoPart::HeartRate => echo::Omission::HeartRate,
        EchoPart::Ecg => echo::Omission::Ecg,
    }
}

fn pathology(arguments: &PhantomPathology, options: &Options) -> Result<Exit, Failure> {
    let corruption: Option<pathology::Corruption> =
        arguments.corrupt.as_deref().map(str::parse).transpose().map_err(Failure::usage)?;
    let batch = pathology::Batch { count: arguments.count as usize, seed: arguments.seed, corruption };
    let truths = pathology::write_studies(&arguments.out, batch, output(arguments)?)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &truths)?;
        writeln!(out)?;
    } else {
        for truth in &truths.studies {
            writeln!(
                out,
                "{}  {} x {}  tissue {:.0} %  {} nuclei",
                truth.study_uid.as_deref().or(truth.files.first().map(String::as_str)).unwrap_or_default(),
                truth.columns,
                truth.rows,
                100.0 * truth.tissue_fraction,
                truth.nuclei_count
            )?;
        }
        writeln!(out, "{} studies and truth.json in {}", truths.studies.len(), arguments.out.display())?;
    }
    Ok(Exit::Done)
}

fn output(arguments: &PhantomPathology) -> Result<Output, Failure> {
    match (arguments.slide, arguments.format) {
        (true, PathologyFormat::Dicom) => Ok(Output::Slides(SlideFormat::Dicom(Organisation::TiledFull))),
        (true, PathologyFormat::DicomSparse) => {
            Ok(Output::Slides(SlideFormat::Dicom(Organisation::TiledSparse)))
        }
        (true, PathologyFormat::Tiff) => Ok(Output::Slides(SlideFormat::Tiff)),
        (false, PathologyFormat::Dicom) => Ok(Output::Fields(FieldFormat::Dicom)),
        (false, PathologyFormat::Png) => Ok(Output::Fields(FieldFormat::Png)),
        (false, PathologyFormat::Jpeg) => Ok(Output::Fields(FieldFormat::Jpeg)),
        (false, PathologyFormat::Tiff) => Ok(Output::Fields(FieldFormat::Tiff)),
        (true, PathologyFormat::Png | PathologyFormat::Jpeg) => Err(Failure::usage(
            "a slide is stored as dicom, dicom-sparse or tiff; leave --slide out for a field",
        )),
        (false, PathologyFormat::DicomSparse) => {
            Err(Failure::usage("a field has one tile, so none to leave out; add --slide, or choose dicom"))
        }
    }
}
