//! A minimal sRGB profile (ICC.1:2001-04, version 2.4, matrix and tone curves): what Optical Path demands of a colour
//! image (PS3.3 C.8.12.5).

/// s15Fixed16Number.
fn fixed(value: f64) -> [u8; 4] {
    ((value * 65536.0).round() as i32).to_be_bytes()
}

fn xyz([x, y, z]: [f64; 3]) -> Vec<u8> {
    [b"XYZ \0\0\0\0".as_slice(), &fixed(x), &fixed(y), &fixed(z)].concat()
}

/// The profile; a multiple of four bytes long.
pub(crate) fn srgb() -> Vec<u8> {
    const NAME: &[u8] = b"sRGB\0";
    // textDescriptionType: ASCII, then an empty Unicode and an empty Macintosh description.
    let mut description = b"desc\0\0\0\0".to_vec();
    description.extend((NAME.len() as u32).to_be_bytes());
    description.extend(NAME);
    description.extend([0; 4 + 4 + 2 + 1 + 67]);
    // A gamma of 2.2, u8Fixed8Number.
    let curve = b"curv\0\0\0\0\0\0\0\x01\x02\x33".to_vec();
    // Primaries adapted to D50 by Bradford, as in the profile of IEC 61966-2-1.
    let tags: [(&[u8; 4], Vec<u8>); 9] = [
        (b"desc", description),
        (b"cprt", b"text\0\0\0\0No copyright\0".to_vec()),
        (b"wtpt", xyz([0.9642, 1.0, 0.8249])),
        (b"rXYZ", xyz([0.43607, 0.22249, 0.01392])),
        (b"gXYZ", xyz([0.38515, 0.71687, 0.09708])),
        (b"bXYZ", xyz([0.14307, 0.06061, 0.71410])),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
    ];
    let first = 128 + 4 + 12 * tags.len();
    let (mut table, mut data) = ((tags.len() as u32).to_be_bytes().to_vec(), Vec::new());
    for (signature, content) in &tags {
        table.extend(*signature);
        table.extend(((first + data.len()) as u32).to_be_bytes());
        table.extend((content.len() as u32).to_be_bytes());
        data.extend(content);
        while data.len() % 4 != 0 {
            data.push(0);
        }
    }
    let mut header = vec![0; 128];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &((first + data.len()) as u32).to_be_bytes());
    put(8, &[2, 0x40, 0, 0]);
    put(12, b"mntrRGB XYZ ");
    // 2026-01-01 12:00:00
    put(24, &[0x07, 0xea, 0, 1, 0, 1, 0, 12, 0, 0, 0, 0]);
    put(36, b"acsp");
    put(68, &[fixed(0.9642), fixed(1.0), fixed(0.8249)].concat());
    [header, table, data].concat()
}
