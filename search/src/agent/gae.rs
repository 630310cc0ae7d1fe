//! Generalised advantage estimation (arXiv 1506.02438): how much better an action was than the critic expected.

/// The advantage of each step of one whole episode.
///
/// `gamma` discounts rewards, `lambda` trades the critic's bias (0) for the returns' variance (1). The episode has
/// ended after its last step, so nothing is expected from there.
///
/// ```
/// use releq_search::agent::advantages;
///
/// // With both at 1 an advantage is the rest of the rewards, less what was expected.
/// assert_eq!(advantages(&[0.0, 0.0, 1.0], &[0.5, 0.25, 0.75], 1.0, 1.0), [0.5, 0.75, 0.25]);
/// ```
pub fn advantages(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    let backwards = rewards.iter().zip(values).rev().map(|(reward, value)| {
        let surprise = reward + gamma * next_value - value;
        next_advantage = surprise + gamma * lambda * next_advantage;
        next_value = *value;
        next_advantage
    });
    let mut advantages: Vec<f64> = backwards.collect();
    advantages.reverse();
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [f64; 4] = [1.0, -0.5, 0.0, 2.0];
    const VALUES: [f64; 4] = [0.5, 1.0, -1.0, 0.25];

    #[test]
    fn golden_values() {
        // By hand: surprises are 1.4, -2.4, 1.225 and 1.75; each advantage adds 0.9 · 0.8 times the next one.
        let golden = [0.960_224, -0.6108, 2.485, 1.75];
        let found = advantages(&REWARDS, &VALUES, 0.9, 0.8);
        assert_eq!(found.len(), golden.len());
        assert!(golden.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn lambda_one_is_the_discounted_return_less_the_value() {
        let gamma: f64 = 0.9;
        let returns = |from: usize| -> f64 {
            REWARDS[from..].iter().enumerate().map(|(later, reward)| gamma.powi(later as i32) * reward).sum()
        };
        for (step, advantage) in advantages(&REWARDS, &VALUES, gamma, 1.0).iter().enumerate() {
            assert!((advantage - (returns(step) - VALUES[step])).abs() < 1e-12);
        }
    }

    #[test]
    fn lambda_zero_is_one_step_of_surprise() {
        let found = advantages(&REWARDS, &VALUES, 0.9, 0.0);
        for step in 0..4 {
            let next = VALUES.get(step + 1).unwrap_or(&0.0);
            assert_eq!(found[step], REWARDS[step] + 0.9 * next - VALUES[step]);
        }
    }
}
