//! The plain shapes that outlines are made of, in mm of the section's frame.

use super::Matter;

#[derive(Debug, Clone, Copy)]
pub(super) struct Ellipse {
    pub(super) w: f32,
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) half_height: f32,
}

impl Ellipse {
    pub(super) fn circle(w: f32, y: f32, radius: f32) -> Self {
        Self { w, y, half_width: radius, half_height: radius }
    }

    fn contains(self, w: f32, y: f32) -> bool {
        let (x, y) = ((w - self.w) / self.half_width, (y - self.y) / self.half_height);
        x * x + y * y < 1.0
    }

    pub(super) fn grown(self, by: f32) -> Self {
        Self { half_width: self.half_width + by, half_height: self.half_height + by, ..self }
    }
}

/// An outline, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Ellipse(Ellipse),
    /// Between two slanted lines: w from `from` to `to` at the annulus, both moving by `slope` mm per mm of y.
    Tube {
        from: f32,
        to: f32,
        slope: f32,
        annulus: f32,
    },
    /// Everything on the right heart's side of this w.
    Beyond {
        w: f32,
    },
}

/// Which part of the section a shape may fill; the annulus cuts what lies around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// Towards the apex.
    Ventricular,
    /// Away from it.
    Atrial,
    Both,
}

/// A shape filled with matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) shape: Shape,
    pub(super) side: Side,
    pub(super) matter: Matter,
}

impl Part {
    pub(super) fn ellipse(ellipse: Ellipse, side: Side, matter: Matter) -> Self {
        Self { shape: Shape::Ellipse(ellipse), side, matter }
    }

    /// `ventricular`: whether the point lies on the apex' side of the annulus.
    pub(super) fn contains(&self, w: f32, y: f32, ventricular: bool) -> bool {
        let allowed = match self.side {
            Side::Ventricular => ventricular,
            Side::Atrial => !ventricular,
            Side::Both => true,
        };
        allowed
            && match self.shape {
                Shape::Ellipse(ellipse) => ellipse.contains(w, y),
                Shape::Tube { from, to, slope, annulus } => (from..to).contains(&(w - slope * (y - annulus))),
                Shape::Beyond { w: border } => w < border,
            }
    }
}

/// A leaflet or a vessel's wall: a stroke from its hinge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) hinge: (f32, f32),
    /// Of length 1.
    pub(super) direction: (f32, f32),
    pub(super) length: f32,
}

impl Stroke {
    pub(super) fn end(self) -> (f32, f32) {
        (self.hinge.0 + self.length * self.direction.0, self.hinge.1 + self.length * self.direction.1)
    }

    pub(super) fn distance_squared(self, w: f32, y: f32) -> f32 {
        let (dw, dy) = (w - self.hinge.0, y - self.hinge.1);
        let along = (dw * self.direction.0 + dy * self.direction.1).clamp(0.0, self.length);
        let (dw, dy) = (dw - along * self.direction.0, dy - along * self.direction.1);
        dw * dw + dy * dy
    }
}
