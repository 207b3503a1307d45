//! Eigenvectors of a real symmetric matrix.
//!
//! Householder reflections make the matrix tridiagonal, then the QL method with implicit shifts makes it diagonal
//! (Golub and Van Loan, Matrix Computations, 8.3). Sequential `f64` arithmetic in a fixed order: the same matrix gives
//! the same bits in every thread.

/// One eigenvalue with its eigenvector of length 1; the vector's sign is arbitrary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) value: f64,
    pub(crate) vector: Vec<f64>,
}

/// QL needs two or three steps for each eigenvalue; a matrix that needs more than these holds NaN.
const MOST_STEPS: usize = 60;

/// All eigenpairs of the symmetric `matrix` (row by row, `size * size` finite numbers), the largest value first.
/// Empty where the matrix has another number of elements or holds a number that is not finite.
pub(crate) fn eigenpairs(mut matrix: Vec<f64>, size: usize) -> Vec<Pair> {
    if size == 0 || matrix.len() != size * size || matrix.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let reflections = tridiagonalise(&mut matrix, size);
    let mut diagonal: Vec<f64> = (0..size).map(|i| matrix[i * size + i]).collect();
    let mut beside: Vec<f64> = (1..size).map(|i| matrix[i * size + i - 1]).chain([0.0]).collect();
    let mut vectors = accumulated(&reflections, size);
    if !diagonalise(&mut diagonal, &mut beside, &mut vectors, size) {
        return Vec::new();
    }
    let mut pairs: Vec<Pair> = diagonal
        .into_iter()
        .zip(vectors.chunks_exact(size))
        .map(|(value, vector)| Pair { value, vector: vector.to_vec() })
        .collect();
    pairs.sort_by(|a, b| b.value.total_cmp(&a.value));
    pairs
}

/// Makes `matrix` tridiagonal. Returns the vectors v of the reflections I − 2vvᵀ, in order; the k-th is 0 up to
/// element k.
fn tridiagonalise(matrix: &mut [f64], size: usize) -> Vec<Vec<f64>> {
    let mut reflections = Vec::with_capacity(size.saturating_sub(2));
    for k in 0..size.saturating_sub(2) {
        let mut v: Vec<f64> =
            (0..size).map(|row| if row > k { matrix[row * size + k] } else { 0.0 }).collect();
        let length = dot(&v, &v).sqrt();
        // Away from cancellation: the sign of the first element.
        v[k + 1] += length.copysign(v[k + 1]);
        let norm = dot(&v, &v).sqrt();
        if norm > 0.0 {
            for element in &mut v {
                *element /= norm;
            }
            // A' = (I − 2vvᵀ) A (I − 2vvᵀ) = A − v wᵀ − w vᵀ with p = 2Av, w = p − (vᵀp) v.
            let mut w: Vec<f64> = matrix.chunks_exact(size).map(|row| 2.0 * dot(row, &v)).collect();
            let along = dot(&v, &w);
            w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
            for (row, (vi, wi)) in matrix.chunks_exact_mut(size).zip(v.iter().zip(&w)) {
                let both = v.iter().zip(&w);
                row.iter_mut().zip(both).for_each(|(a, (vj, wj))| *a -= vi * wj + wi * vj);
            }
        }
        reflections.push(v);
    }
    reflections
}

/// The product Q of the reflections, transposed: row i holds what becomes eigenvector i.
fn accumulated(reflections: &[Vec<f64>], size: usize) -> Vec<f64> {
    let mut rows = vec![0.0; size * size];
    (0..size).for_each(|i| rows[i * size + i] = 1.0);
    // Q = H0·H1·…: each row r becomes r − 2(r·v)v, reflection after reflection.
    for v in reflections {
        for row in rows.chunks_exact_mut(size) {
            let along = 2.0 * dot(row, v);
            row.iter_mut().zip(v).for_each(|(element, v)| *element -= along * v);
        }
    }
    let mut columns = vec![0.0; size * size];
    for (i, row) in rows.chunks_exact(size).enumerate() {
        row.iter().enumerate().for_each(|(j, value)| columns[j * size + i] = *value);
    }
    columns
}

/// QL with implicit shifts. Whether every eigenvalue was found.
fn diagonalise(diagonal: &mut [f64], beside: &mut [f64], vectors: &mut [f64], size: usize) -> bool {
    for l in 0..size {
        let mut steps = 0;
        loop {
            let small = |m: &usize| {
                let scale = diagonal[*m].abs() + diagonal[*m + 1].abs();
                beside[*m].abs() <= f64::EPSILON * scale
            };
            let m = (l..size - 1).find(small).unwrap_or(size - 1);
            if m == l {
                break;
            }
            steps += 1;
            if steps > MOST_STEPS {
                return false;
            }
            let half = (diagonal[l + 1] - diagonal[l]) / (2.0 * beside[l]);
            let mut g = diagonal[m] - diagonal[l] + beside[l] / (half + length(half, 1.0).copysign(half));
            let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (sine * beside[i], cosine * beside[i]);
                let r = length(f, g);
                beside[i + 1] = r;
                if r == 0.0 {
                    diagonal[i + 1] -= p;
                    beside[m] = 0.0;
                    split = true;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = diagonal[i + 1] - p;
                let r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
                p = sine * r;
                diagonal[i + 1] = g + p;
                g = cosine * r - b;
                let (low, high) = vectors.split_at_mut((i + 1) * size);
                let pair = low[i * size..].iter_mut().zip(&mut high[..size]);
                pair.for_each(|(lower, upper)| {
                    (*lower, *upper) = (cosine * *lower - sine * *upper, sine * *lower + cosine * *upper);
                });
            }
            if !split {
                diagonal[l] -= p;
                beside[l] = g;
                beside[m] = 0.0;
            }
        }
    }
    true
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_satisfy_their_definition_and_are_orthonormal() {
        for size in [1, 2, 3, 7, 40] {
            let element = |i: usize, j: usize| {
                let (low, high) = (i.min(j) as f64, i.max(j) as f64);
                (low * 3.7 + high * 1.3).sin() * 5.0 + f64::from(u8::from(i == j)) * low
            };
            let matrix: Vec<f64> = (0..size * size).map(|at| element(at / size, at % size)).collect();
            let pairs = eigenpairs(matrix.clone(), size);
            assert_eq!(pairs.len(), size);
            assert!(pairs.windows(2).all(|pair| pair[0].value >= pair[1].value));
            for (index, pair) in pairs.iter().enumerate() {
                for (row, element) in matrix.chunks_exact(size).zip(&pair.vector) {
                    assert!((dot(row, &pair.vector) - pair.value * element).abs() < 1e-10, "size {size}");
                }
                for (other_index, other) in pairs.iter().enumerate() {
                    let expected = f64::from(u8::from(index == other_index));
                    assert!((dot(&pair.vector, &other.vector) - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn a_matrix_of_zeros_and_equal_values_is_solved() {
        assert!(eigenpairs(vec![0.0; 16], 4).iter().all(|pair| pair.value == 0.0));
        let ones = eigenpairs(vec![1.0; 9], 3);
        assert!((ones[0].value - 3.0).abs() < 1e-12 && ones[1].value.abs() < 1e-12);
    }

    #[test]
    fn what_is_no_matrix_has_no_pairs() {
        assert_eq!(eigenpairs(vec![1.0; 8], 3), []);
        assert_eq!(eigenpairs(vec![f64::NAN; 9], 3), []);
        assert_eq!(eigenpairs(Vec::new(), 0), []);
    }
}
