//! The definition on the CPU against dense attention by matrix products; what a wrong call is answered with. On a card,
//! `benches/gpu` compares the kernels with the definition.

#![expect(clippy::unwrap_used, reason = "a tensor that cannot be made fails the test")]

use candle_core::{DType, Device, Result, Tensor};
use glm46v_flash::{HEAD_DIM, Mask, Packed, Pages, Splits, decode, packed, paged};

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const PAGE: usize = 32;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap()
}

fn lengths(lengths: &[usize]) -> Packed {
    Packed::new(lengths, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(ours: &Tensor, wanted: &Tensor) {
    assert_eq!(ours.dims(), wanted.dims());
    let worst = values(ours).iter().zip(values(wanted)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Half a step of bf16 at values up to 2.
    assert!(worst < 1e-2, "{worst}");
}

/// One sequence, `[rows, heads, d]`, by matrix products in f32 with keys repeated for each head.
fn dense(q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask) -> Result<Tensor> {
    let wide = |t: &Tensor| t.to_dtype(DType::F32)?.transpose(0, 1)?.contiguous();
    let (rows, keys) = (q.dim(0)?, k.dim(0)?);
    let of_head = |t: &Tensor| {
        let groups: Vec<u32> = (0..HEADS).map(|head| (head / (HEADS / KV_HEADS)) as u32).collect();
        wide(t)?.index_select(&Tensor::new(groups, &Device::Cpu)?, 0)
    };
    let scores = (wide(q)?.matmul(&of_head(k)?.transpose(1, 2)?)? / (HEAD_DIM as f64).sqrt())?;
    let hidden = |row: usize, key: usize| mask == Mask::Causal && key > keys - rows + row;
    let bias: Vec<f32> =
        (0..rows * keys).map(|i| if hidden(i / keys, i % keys) { f32::NEG_INFINITY } else { 0.0 }).collect();
    let scores = scores.broadcast_add(&Tensor::from_vec(bias, (rows, keys), &Device::Cpu)?)?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(2)?)?.exp()?;
    let mixed = weights.broadcast_div(&weights.sum_keepdim(2)?)?.matmul(&of_head(v)?)?;
    mixed.transpose(0, 1)?.contiguous()?.to_dtype(DType::BF16)
}

#[test]
fn packed_sequences_are_each_answered_by_themselves() {
    let (queries, keys) = ([5, 1, 40], [5, 9, 70]);
    let q = random(&[46, HEADS, HEAD_DIM]);
    let (k, v) = (random(&[84, KV_HEADS, HEAD_DIM]), random(&[84, KV_HEADS, HEAD_DIM]));
    for mask in [Mask::All, Mask::Causal] {
        let ours = packed(&q, [&k, &v], [&lengths(&queries), &lengths(&keys)], mask).unwrap();
        let (mut row, mut key) = (0, 0);
        for (n_queries, n_keys) in queries.into_iter().zip(keys) {
            let of_keys = |t: &Tensor| t.narrow(0, key, n_keys).unwrap();
            let q = q.narrow(0, row, n_queries).unwrap();
            let wanted = dense(&q, &of_keys(&k), &of_keys(&v), mask).unwrap();
            assert_close(&ours.narrow(0, row, n_queries).unwrap(), &wanted);
            row += n_queries;
            key += n_keys;
        }
    }
}

#[test]
fn pages_hold_what_lies_behind_each_other_elsewhere() {
    let keys = [70, 33];
    let (k, v) = (random(&[103, KV_HEADS, HEAD_DIM]), random(&[103, KV_HEADS, HEAD_DIM]));
    let table = [[6u32, 0, 3], [2, 5, 99]];
    let in_pages = |t: &Tensor| {
        let store = random(&[8, PAGE, KV_HEADS, HEAD_DIM]);
        let rows = store.reshape((8 * PAGE, KV_HEADS, HEAD_DIM)).unwrap();
        for (first, length, pages) in [(0, keys[0], &table[0]), (keys[0], keys[1], &table[1])] {
            for done in (0..length).step_by(PAGE) {
                let part = t.narrow(0, first + done, PAGE.min(length - done)).unwrap();
                rows.slice_set(&part, 0, pages[done / PAGE] as usize * PAGE).unwrap();
            }
        }
        store
    };
    let (k_pages, v_pages) = (in_pages(&k), in_pages(&v));
    let table = Tensor::new(&table, &Device::Cpu).unwrap();
    let key_lengths = lengths(&keys);
    let pages = Pages { keys: &k_pages, values: &v_pages, lengths: &key_lengths, table: &table };

    let q = random(&[53, HEADS, HEAD_DIM]);
    let queries = lengths(&[20, 33]);
    let wanted = packed(&q, [&k, &v], [&queries, &key_lengths], Mask::Causal).unwrap();
    assert_eq!(values(&paged(&q, pages, &queries).unwrap()), values(&wanted));

    let q = random(&[2, HEADS, HEAD_DIM]);
    let wanted = packed(&q, [&k, &v], [&lengths(&[1, 1]), &key_lengths], Mask::Causal).unwrap();
    for splits in [Splits::One, Splits::FillCard] {
        assert_eq!(values(&decode(&q, pages, splits).unwrap()), values(&wanted));
    }
}

#[test]
fn strided_queries_keys_and_values_need_no_copy() {
    let qkv = random(&[12, 3, HEADS, HEAD_DIM]);
    let part = |i: usize| qkv.narrow(1, i, 1).unwrap().squeeze(1).unwrap();
    let whole = |i: usize| part(i).contiguous().unwrap();
    let rows = lengths(&[7, 5]);
    let strided = packed(&part(0), [&part(1), &part(2)], [&rows, &rows], Mask::All).unwrap();
    let contiguous = packed(&whole(0), [&whole(1), &whole(2)], [&rows, &rows], Mask::All).unwrap();
    assert_eq!(values(&strided), values(&contiguous));
}

#[test]
fn what_would_be_read_outside_of_a_tensor_is_refused() {
    let q = random(&[4, HEADS, HEAD_DIM]);
    let kv = random(&[6, KV_HEADS, HEAD_DIM]);
    let refusal = |result: Result<Tensor>| result.unwrap_err().to_string();
    let ask = |q: &Tensor, kv: &Tensor, queries: &[usize], keys: &[usize]| {
        refusal(packed(q, [kv, kv], [&lengths(queries), &lengths(keys)], Mask::Causal))
    };
    assert!(ask(&q, &kv, &[4], &[7]).contains("6 rows of keys for 7"));
    assert!(ask(&q, &kv, &[3], &[6]).contains("4 queries for 3"));
    assert!(ask(&q, &kv, &[2, 2], &[6]).contains("2 sequences of queries for 1 of keys"));
    assert!(ask(&q, &kv, &[1, 3], &[5, 1]).contains("sequence 1 has more queries than keys"));
    assert!(ask(&q.narrow(2, 0, 64).unwrap(), &kv, &[4], &[6]).contains("128 values, not 64"));
    let single = q.to_dtype(DType::F32).unwrap();
    assert!(ask(&single, &kv, &[4], &[6]).contains("bf16, and q is F32"));
    let three = random(&[6, 3, HEAD_DIM]);
    assert!(ask(&q, &three, &[4], &[6]).contains("4 heads cannot share 3"));

    let store = random(&[4, PAGE, KV_HEADS, HEAD_DIM]);
    let keys = lengths(&[70]);
    let table = Tensor::new(&[[1u32, 2]], &Device::Cpu).unwrap();
    let pages = Pages { keys: &store, values: &store, lengths: &keys, table: &table };
    assert!(refusal(paged(&q, pages, &lengths(&[4]))).contains("1 × 2 pages of 32 rows"));
    let narrow = random(&[4, 16, KV_HEADS, HEAD_DIM]);
    let pages = Pages { keys: &narrow, values: &narrow, lengths: &keys, table: &table };
    assert!(refusal(paged(&q, pages, &lengths(&[4]))).contains("16 rows is not a multiple of 32"));
    assert!(Packed::new(&[usize::MAX], &Device::Cpu).is_err());
    assert!(ask(&random(&[0, HEADS, HEAD_DIM]), &kv, &[0], &[6]).contains("no queries"));
}
