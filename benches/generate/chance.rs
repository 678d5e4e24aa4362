//! Chance that is the same for the same seed, on every machine and for ever: no crate's next version
//! may change what a seed gives.

/// Mixes two numbers into one that looks random (the finaliser of SplitMix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sequence of random numbers (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed, 0x6B6F_6C75_6D6E))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0, 0)
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Small numbers more often than large ones.
    pub(crate) fn few(&mut self, n: usize) -> usize {
        let u = self.unit();
        (u * u * n as f64) as usize
    }

    /// Whole lives of a mean: memoryless, neither shorter than a tenth nor longer than ten times.
    pub(crate) fn life(&mut self, mean: f64) -> f64 {
        // A rational stand-in for -ln(u), so that no machine's library of mathematics has a say.
        let u = self.unit();
        (mean * (0.1 + 0.9 * u * (2.0 - u) / (1.06 - u))).min(mean * 10.0)
    }
}
