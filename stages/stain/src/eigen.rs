//! Eigenvectors of a symmetric 3 by 3 matrix by cyclic Jacobi rotations (Golub and Van Loan, 8.5).

/// Sweeps after which the off-diagonal is zero to the last bit; four are typical.
const SWEEPS: usize = 32;

/// Eigenvalues in ascending order with the eigenvector of each.
pub(crate) fn symmetric(mut a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..SWEEPS {
        if a[0][1] == 0.0 && a[0][2] == 0.0 && a[1][2] == 0.0 {
            break;
        }
        for [p, q] in [[0, 1], [0, 2], [1, 2]] {
            rotate(&mut a, &mut columns, p, q);
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|i, j| a[*i][*i].total_cmp(&a[*j][*j]));
    (order.map(|i| a[i][i]), order.map(|i| columns[i]))
}

/// Turns the plane of `p` and `q` so that `a[p][q]` becomes 0.
fn rotate(a: &mut [[f64; 3]; 3], columns: &mut [[f64; 3]; 3], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let off = a[p][q];
    a[p][p] -= tangent * off;
    a[q][q] += tangent * off;
    (a[p][q], a[q][p]) = (0.0, 0.0);
    let r = 3 - p - q;
    let (rp, rq) = (a[r][p], a[r][q]);
    (a[r][p], a[r][q]) = (cosine * rp - sine * rq, sine * rp + cosine * rq);
    (a[p][r], a[q][r]) = (a[r][p], a[r][q]);
    let (vp, vq) = (columns[p], columns[q]);
    columns[p] = [0, 1, 2].map(|k| cosine * vp[k] - sine * vq[k]);
    columns[q] = [0, 1, 2].map(|k| sine * vp[k] + cosine * vq[k]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn vectors_are_orthonormal_and_rebuild_the_matrix(
            d in prop::array::uniform3(-1e3..1e3_f64),
            o in prop::array::uniform3(-1e3..1e3_f64),
        ) {
            let a = [[d[0], o[0], o[1]], [o[0], d[1], o[2]], [o[1], o[2], d[2]]];
            let (values, vectors) = symmetric(a);
            prop_assert!(values.is_sorted());
            let scale = d.iter().chain(&o).fold(1.0_f64, |most, x| most.max(x.abs()));
            for i in 0..3 {
                for j in 0..3 {
                    let dot: f64 = (0..3).map(|k| vectors[i][k] * vectors[j][k]).sum();
                    prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                    let rebuilt: f64 = (0..3).map(|k| values[k] * vectors[k][i] * vectors[k][j]).sum();
                    prop_assert!((rebuilt - a[i][j]).abs() < 1e-12 * scale);
                }
            }
        }
    }
}
