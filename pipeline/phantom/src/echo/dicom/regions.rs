//! Items of the Sequence of Ultrasound Regions (PS3.3 C.8.5.5): what a rectangle of the screen shows, and its scale.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::DataSet;
use crate::echo::cine::Cine;
use crate::echo::colour::ColourBox;
use crate::echo::overlay::{ECG_BOTTOM, ECG_LEFT, ECG_RIGHT, ECG_TOP};
use crate::echo::scan::{FAN_RADIUS_PX, PROBE_X, PROBE_Y};
use crate::echo::spec::EchoSpec;
use crate::echo::traces::Doppler;

/// A rectangle of the screen, inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) right: usize,
    pub(crate) bottom: usize,
}

/// The attributes every region has (PS3.3 C.8.5.5); `format`, `data_type` and `units` are that section's codes.
fn region(area: &Area, [format, data_type]: [u16; 2], units: [u16; 2], deltas: [f64; 2]) -> DataSet {
    let mut item = DataSet::new();
    item.number(tags::REGION_SPATIAL_FORMAT, VR::US, format);
    item.number(tags::REGION_DATA_TYPE, VR::US, data_type);
    item.number(tags::REGION_FLAGS, VR::UL, 0_u32);
    item.number(tags::REGION_LOCATION_MIN_X0, VR::UL, area.left as u32);
    item.number(tags::REGION_LOCATION_MIN_Y0, VR::UL, area.top as u32);
    item.number(tags::REGION_LOCATION_MAX_X1, VR::UL, area.right as u32);
    item.number(tags::REGION_LOCATION_MAX_Y1, VR::UL, area.bottom as u32);
    item.number(tags::PHYSICAL_UNITS_X_DIRECTION, VR::US, units[0]);
    item.number(tags::PHYSICAL_UNITS_Y_DIRECTION, VR::US, units[1]);
    item.number(tags::PHYSICAL_DELTA_X, VR::FD, deltas[0]);
    item.number(tags::PHYSICAL_DELTA_Y, VR::FD, deltas[1]);
    item
}

/// 2-D tissue (format 1, type 1) in centimetres (3), origin at the probe.
pub(crate) fn sector(spec: &EchoSpec, cine: &Cine) -> DataSet {
    let half_width = cine.converter.half_width_px;
    let area = Area {
        left: PROBE_X - half_width,
        top: PROBE_Y,
        right: PROBE_X + half_width,
        bottom: PROBE_Y + FAN_RADIUS_PX,
    };
    let cm_per_pixel = cine.converter.mm_per_pixel / 10.0;
    let mut item = region(&area, [1, 1], [3, 3], [cm_per_pixel; 2]);
    item.number(tags::REFERENCE_PIXEL_X0, VR::SL, half_width as i32);
    item.number(tags::REFERENCE_PIXEL_Y0, VR::SL, 0_i32);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_X, VR::FD, 0.0_f64);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_Y, VR::FD, 0.0_f64);
    item.number(tags::TRANSDUCER_FREQUENCY, VR::UL, (1000.0 * spec.machine.frequency_mhz).round() as u32);
    item
}

/// Colour flow (format 1, type 2) in centimetres (3), origin at the probe.
pub(crate) fn colour(cine: &Cine) -> DataSet {
    let [left, top, right, bottom] = ColourBox::VALVES.bounds(cine.sector.half_angle_rad);
    let cm_per_pixel = cine.converter.mm_per_pixel / 10.0;
    let mut item = region(&Area { left, top, right, bottom }, [1, 2], [3, 3], [cm_per_pixel; 2]);
    item.number(tags::REFERENCE_PIXEL_X0, VR::SL, PROBE_X as i32 - left as i32);
    item.number(tags::REFERENCE_PIXEL_Y0, VR::SL, PROBE_Y as i32 - top as i32);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_X, VR::FD, 0.0_f64);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_Y, VR::FD, 0.0_f64);
    item
}

/// Electrocardiogram (format 4 waveform, type 10): seconds (4) across, no unit (0) up.
pub(crate) fn ecg(cine: &Cine) -> DataSet {
    let area = Area { left: ECG_LEFT, top: ECG_TOP, right: ECG_RIGHT, bottom: ECG_BOTTOM };
    let seconds = cine.timing.duration_ms() / 1000.0 / (ECG_RIGHT - ECG_LEFT + 1) as f64;
    region(&area, [4, 10], [4, 0], [seconds, 1.0])
}

/// Velocities over time (format 3, type 3 pulsed or 4 continuous): seconds (4) across, cm/s (7) up; `baseline` is the row
/// of velocity 0.
pub(crate) fn spectral(
    area: Area,
    doppler: Doppler,
    baseline: usize,
    [seconds, cm_per_second]: [f64; 2],
) -> DataSet {
    let data_type = match doppler {
        Doppler::Pulsed => 3,
        Doppler::Continuous => 4,
    };
    let mut item = region(&area, [3, data_type], [4, 7], [seconds, cm_per_second]);
    item.number(tags::REFERENCE_PIXEL_X0, VR::SL, 0_i32);
    item.number(tags::REFERENCE_PIXEL_Y0, VR::SL, (baseline - area.top) as i32);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_X, VR::FD, 0.0_f64);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_Y, VR::FD, 0.0_f64);
    item
}

/// One beam over time (format 2, type 1): seconds (4) across, centimetres (3) down.
pub(crate) fn m_mode(area: Area, [seconds, cm]: [f64; 2]) -> DataSet {
    region(&area, [2, 1], [4, 3], [seconds, cm])
}
