//! The agent as a whole: its gradient, the published code's bugs one by one, repeatability, and that it learns.

use candle_core::{Device, Tensor};
use rand::RngExt;

use super::net::Network;
use super::ppo::{slope, terms};
use super::rollout::{Batch, RewardScale};
use super::*;
use crate::seed;

const FEATURES: usize = 8;

/// Pays, at the end, the share of `best` that was guessed. Observations tell the step and the last action.
struct Lock {
    best: Vec<usize>,
    guessed: Vec<usize>,
    /// Every observation shown, to compare with those the agent stored.
    shown: Vec<Vec<f32>>,
}

impl Lock {
    fn new(best: &[usize]) -> Self {
        Self { best: best.to_vec(), guessed: Vec::new(), shown: Vec::new() }
    }

    fn show(&mut self) -> Vec<f32> {
        let mut observation = vec![0.0; FEATURES];
        observation[0] = self.guessed.len() as f32 / self.best.len() as f32;
        observation[1] = self.guessed.last().map_or(1.0, |action| *action as f32 / 8.0);
        self.shown.push(observation.clone());
        observation
    }
}

impl EpisodeEnv for Lock {
    type Error = AgentError;

    fn reset(&mut self) -> Result<Vec<f32>, AgentError> {
        self.guessed.clear();
        self.shown.clear();
        Ok(self.show())
    }

    fn step(&mut self, action: usize) -> Result<Step, AgentError> {
        self.guessed.push(action);
        let done = self.guessed.len() == self.best.len();
        let right = self.best.iter().zip(&self.guessed).filter(|(best, guess)| best == guess).count();
        let reward = if done { right as f64 / self.best.len() as f64 } else { 0.0 };
        let observation = if done { Vec::new() } else { self.show() };
        Ok(Step { observation, reward, done })
    }
}

/// Shows a cue first and asks for it last, when the observation no longer tells.
struct Recall {
    cue: usize,
    step: usize,
}

impl EpisodeEnv for Recall {
    type Error = AgentError;

    fn reset(&mut self) -> Result<Vec<f32>, AgentError> {
        self.step = 0;
        let mut observation = vec![0.0; FEATURES];
        observation[0] = if self.cue == 0 { -1.0 } else { 1.0 };
        Ok(observation)
    }

    fn step(&mut self, action: usize) -> Result<Step, AgentError> {
        self.step += 1;
        let done = self.step == 3;
        let reward = if done && action == self.cue { 1.0 } else { 0.0 };
        Ok(Step { observation: vec![0.0; FEATURES], reward, done })
    }
}

/// Down, keep, up on a ladder of seven rungs from the top, `length` steps long: the restricted actions. Pays for
/// ending on rung 2; rungs off the ladder are not allowed.
struct Ladder {
    rung: usize,
    left: usize,
    length: usize,
}

impl EpisodeEnv for Ladder {
    type Error = AgentError;

    fn reset(&mut self) -> Result<Vec<f32>, AgentError> {
        (self.rung, self.left) = (6, self.length);
        Ok(vec![1.0; FEATURES])
    }

    fn step(&mut self, action: usize) -> Result<Step, AgentError> {
        self.rung = self.rung + action - 1;
        self.left -= 1;
        let reward = -(self.rung as f64 - 2.0).abs() / 4.0;
        let done = self.left == 0;
        Ok(Step { observation: vec![self.rung as f32 / 6.0; FEATURES], reward: if done { reward } else { 0.0 }, done })
    }

    fn allowed(&self, action: usize) -> bool {
        (1..=7).contains(&(self.rung + action))
    }
}

fn agent(actions: usize, seed: u64) -> Agent {
    Agent::new(PpoConfig::default(), FEATURES, actions, seed).unwrap()
}

fn locks(count: usize) -> Vec<Lock> {
    (0..count).map(|_| Lock::new(&[3, 0, 6, 2])).collect()
}

/// The batch of [`drawn_episodes`], their rewards scaled.
fn drawn_batch(config: &PpoConfig) -> Batch<f64> {
    let episodes = drawn_episodes();
    let mut scale = RewardScale::default();
    scale.observe(&episodes.iter().map(Episode::total_reward).collect::<Vec<_>>());
    Batch::new(&episodes, &scale, config).unwrap()
}

/// Episodes of different lengths with every number drawn, ratios on both sides of the clip, and a forbidden action.
fn drawn_episodes() -> Vec<Episode> {
    let mut rng = seed::stream(5, "episodes");
    let mut step = |_| Transition {
        observation: (0..FEATURES).map(|_| rng.random_range(-1.0..1.0)).collect(),
        probabilities: vec![1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0],
        allowed: vec![true, true, true, false],
        action: rng.random_range(0..3),
        log_probability: rng.random_range(-1.5..-0.7),
        value: rng.random_range(-1.0..1.0),
        reward: rng.random_range(-1.0..1.0),
    };
    [4, 2, 3].map(|length| Episode { steps: (0..length).map(&mut step).collect() }).into()
}

#[test]
fn the_gradient_is_the_finite_difference() {
    let mut network = Network::<f64>::new(FEATURES, 4, &mut seed::stream(1, "parameters"));
    // The first policy's logits are nearly nothing, and so are the gradients through them: grow them.
    network.parameters[3].iter_mut().for_each(|weight| *weight *= 100.0);
    let config = PpoConfig { clip: 0.1, ..PpoConfig::default() };
    let batch = drawn_batch(&config);
    let found = slope(&network, &batch, &config, 0.3).unwrap();
    assert!((0.2..0.9).contains(&found.epoch.clipped), "both sides of the clip must be taken: {:?}", found.epoch);
    let mut rng = seed::stream(2, "entries");
    for (index, gradients) in found.gradients.iter().enumerate() {
        // Weights anywhere, and biases, which lie last.
        let anywhere: Vec<usize> = (0..24).map(|_| rng.random_range(0..gradients.len())).collect();
        let biases = gradients.len() - [512, 128, 128, 4, 128, 64, 1][index].min(8)..gradients.len();
        let (mut wrong, mut all) = (0.0, 0.0);
        for entry in anywhere.into_iter().chain(biases) {
            let mut loss = |offset: f64| {
                let value = network.parameters[index][entry];
                network.parameters[index][entry] += offset;
                let loss = slope(&network, &batch, &config, 0.3).unwrap().loss;
                network.parameters[index][entry] = value;
                loss
            };
            let difference = (loss(1e-6) - loss(-1e-6)) / 2e-6;
            wrong += (difference - gradients[entry]).powi(2);
            all += gradients[entry].powi(2);
        }
        let error = (wrong / all).sqrt();
        assert!(all > 0.0 && error < 1e-5, "matrix {index}: relative error {error}");
        println!("matrix {index}: relative error {error:.1e}");
    }
}

#[test]
fn the_first_policy_is_uniform_to_one_percent() {
    for (actions, seed) in [(7, 0), (7, 1), (3, 2), (5, 3), (7, 4)] {
        let best = vec![0; 20];
        let episode = agent(actions, seed).sample(&mut Lock::new(&best)).unwrap();
        let uniform = 1.0 / actions as f32;
        let probabilities = episode.steps.iter().flat_map(|step| &step.probabilities);
        assert!(probabilities.into_iter().all(|probability| (probability / uniform - 1.0).abs() < 0.01));
    }
}

/// Published bug 3: the memory was never fed back.
#[test]
fn an_early_observation_reaches_later_logits() {
    let agent = agent(7, 1);
    let walk = |cue| agent.probe(&mut Recall { cue, step: 0 }, &[0]).unwrap();
    let (one, other) = (walk(0), walk(1));
    assert_eq!(one.steps[2].observation, other.steps[2].observation);
    assert_ne!(one.steps[2].probabilities, other.steps[2].probabilities);
}

/// Published bug 4: the stored observation was changed after the action.
#[test]
fn stored_observations_are_those_seen() {
    let mut envs = locks(3);
    let episodes = agent(7, 1).sample_batch(&mut envs).unwrap();
    for (env, episode) in envs.iter().zip(&episodes) {
        let stored: Vec<Vec<f32>> = episode.steps.iter().map(|step| step.observation.clone()).collect();
        assert_eq!(stored, env.shown);
        assert_eq!(episode.actions(), env.guessed);
    }
    let batch = Batch::<f32>::new(&episodes, &RewardScale::default(), &PpoConfig::default()).unwrap();
    let row = |step: usize, row: usize| &batch.observations[(step * 3 + row) * FEATURES..][..FEATURES];
    assert!((0..4).all(|step| (0..3).all(|world| row(step, world) == envs[world].shown[step])));
}

/// Published bug 5: `[n, 1]` less `[n]` became `[n, n]`.
#[test]
fn the_value_loss_is_one_number_a_step() {
    let network = Network::<f64>::new(FEATURES, 4, &mut seed::stream(1, "parameters"));
    let batch = drawn_batch(&PpoConfig::default());
    let pass = network.forward(&batch.observations, batch.rows, batch.kept.as_deref());
    let logits = Tensor::from_vec(pass.logits, (9, 4), &Device::Cpu).unwrap();
    let values = Tensor::from_vec(pass.values.clone(), 9, &Device::Cpu).unwrap();
    let errors: Vec<f64> = terms(&logits, &values, &batch, 0.1).unwrap().errors.to_vec1().unwrap();
    let targets: Vec<f64> = batch.targets.to_vec1().unwrap();
    let expected: Vec<f64> = pass.values.iter().zip(targets).map(|(value, target)| (value - target).powi(2)).collect();
    assert_eq!(errors, expected);
}

/// Published bug 1: one step after each copy of the policy, so that the ratio was always 1.
#[test]
fn the_ratio_departs_and_is_clipped() {
    let config = PpoConfig { epochs: 6, clip: 0.1, ..PpoConfig::default() };
    let mut agent = Agent::new(config, FEATURES, 7, 1).unwrap();
    let episodes = agent.sample_batch(&mut locks(16)).unwrap();
    let epochs = agent.update(&episodes).unwrap().epochs;
    assert!(epochs[0].largest_departure < 1e-5 && epochs[0].clipped == 0.0, "{epochs:?}");
    assert!(epochs[1].largest_departure > 1e-4, "{epochs:?}");
    assert!(epochs.iter().any(|epoch| epoch.clipped > 0.0), "{epochs:?}");
}

#[test]
fn memory_is_empty_at_the_start_of_each_episode() {
    let mut agent = agent(7, 1);
    let before = agent.greedy(&mut Lock::new(&[1, 2, 3])).unwrap();
    agent.sample(&mut Recall { cue: 1, step: 0 }).unwrap();
    assert_eq!(agent.greedy(&mut Lock::new(&[1, 2, 3])).unwrap(), before);
    // Nor does it leak between worlds walked side by side; one of the two ends earlier.
    let mut envs = [Lock::new(&[1, 2, 3, 4, 5]), Lock::new(&[1, 2, 3])];
    let episodes = agent.sample_batch(&mut envs).unwrap();
    for (episode, env) in episodes.iter().zip(&mut envs) {
        let alone = agent.probe(env, &episode.actions()).unwrap();
        let pairs = episode.steps.iter().zip(&alone.steps);
        assert_eq!(episode.steps.len(), alone.steps.len());
        assert!(pairs.into_iter().all(|(a, b)| (a.value - b.value).abs() < 1e-5 && a.action == b.action));
    }
}

/// What the walk stored is what the update's pass over the sequence finds, for episodes of different lengths, too.
#[test]
fn walking_and_learning_see_the_same_policy() {
    let mut agent = agent(7, 3);
    let mut envs = [Lock::new(&[1, 2, 3, 4, 5]), Lock::new(&[1, 2, 3]), Lock::new(&[4])];
    let episodes = agent.sample_batch(&mut envs).unwrap();
    let first = agent.update(&episodes).unwrap().epochs[0].clone();
    assert!(first.largest_departure < 1e-5, "{first:?}");
}

fn learn(agent: &mut Agent, updates: usize) -> Vec<Vec<Episode>> {
    let mut envs = locks(8);
    let update = |_| {
        let episodes = agent.sample_batch(&mut envs).unwrap();
        agent.update(&episodes).unwrap();
        episodes
    };
    (0..updates).map(update).collect()
}

#[test]
fn one_seed_gives_one_agent() {
    let run = |seed| {
        let mut agent = agent(7, seed);
        (learn(&mut agent, 4), agent.save().unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn a_saved_agent_goes_on_bit_for_bit() {
    let mut first = agent(7, 1);
    learn(&mut first, 3);
    first.sample(&mut Lock::new(&[1])).unwrap();
    let bytes = first.save().unwrap();
    let mut second = Agent::load(PpoConfig::default(), &bytes).unwrap();
    assert_eq!(second.save().unwrap(), bytes);
    assert_eq!(learn(&mut first, 3), learn(&mut second, 3));
    assert_eq!(first.save().unwrap(), second.save().unwrap());
    assert_eq!(second.updates(), 6);
}

#[test]
fn bytes_that_are_no_agent_are_refused() {
    let bytes = agent(7, 1).save().unwrap();
    let load = |bytes: &[u8]| Agent::load(PpoConfig::default(), bytes).unwrap_err().to_string();
    assert!(load(&bytes[..bytes.len() / 2]).contains("cannot be read"));
    assert!(load(&[]).contains("cannot be read"));
    assert!(load(&[9, 0]).contains("version 9"));
    let mut other = bytes.clone();
    other[1] = 12;
    assert!(load(&other).contains("do not fit"), "{}", load(&other));
}

#[test]
fn it_learns_a_known_sequence_in_every_seed() {
    for seed in 0..5 {
        let mut agent = Agent::new(PpoConfig { anneal: Some(150), ..PpoConfig::default() }, FEATURES, 7, seed).unwrap();
        let mut envs: Vec<Lock> = locks(16);
        for _ in 0..200 {
            let episodes = agent.sample_batch(&mut envs).unwrap();
            agent.update(&episodes).unwrap();
        }
        let greedy = agent.greedy(&mut envs[0]).unwrap();
        assert_eq!(greedy.actions(), [3, 0, 6, 2], "seed {seed}");
        assert_eq!(greedy.total_reward(), 1.0);
    }
}

/// No policy without memory earns more than half.
#[test]
fn it_learns_to_remember() {
    let mut agent = Agent::new(PpoConfig { anneal: Some(100), ..PpoConfig::default() }, FEATURES, 2, 1).unwrap();
    let mut envs: Vec<Recall> = (0..16).map(|row| Recall { cue: row % 2, step: 0 }).collect();
    for _ in 0..150 {
        let episodes = agent.sample_batch(&mut envs).unwrap();
        agent.update(&episodes).unwrap();
    }
    assert!(envs.iter_mut().take(2).all(|env| agent.greedy(env).unwrap().total_reward() == 1.0));
}

#[test]
fn restricted_actions_are_only_another_world() {
    let mut agent = Agent::new(PpoConfig { anneal: Some(60), ..PpoConfig::default() }, FEATURES, 3, 1).unwrap();
    let mut envs: Vec<Ladder> = (0..16).map(|row| Ladder { rung: 6, left: 0, length: 4 + row % 3 }).collect();
    for _ in 0..80 {
        let episodes = agent.sample_batch(&mut envs).unwrap();
        // At the top there is no way up.
        assert!(
            episodes.iter().all(|episode| !episode.steps[0].allowed[2] && episode.steps[0].probabilities[2] == 0.0)
        );
        agent.update(&episodes).unwrap();
    }
    assert_eq!(agent.greedy(&mut envs[2]).unwrap().total_reward(), 0.0);
}

#[test]
fn entropy_is_annealed_to_nothing() {
    let config = PpoConfig { entropy: 0.02, anneal: Some(100), ..PpoConfig::default() };
    assert_eq!([0, 50, 100, 900].map(|updates| config.entropy_at(updates)), [0.02, 0.01, 0.0, 0.0]);
    assert_eq!(PpoConfig::paper().entropy_at(900), 0.01);
}

#[test]
fn misuse_is_named() {
    let mut agent = agent(7, 1);
    assert!(matches!(agent.update(&[]), Err(AgentError::NothingToLearn)));
    assert!(matches!(agent.update(&[Episode::default()]), Err(AgentError::NothingToLearn)));
    let mut narrow = Agent::new(PpoConfig::default(), 5, 7, 1).unwrap();
    assert!(matches!(narrow.sample(&mut Lock::new(&[1])), Err(AgentError::Features { expected: 5, found: FEATURES })));
    let mut top = Ladder { rung: 6, left: 0, length: 2 };
    let three = Agent::new(PpoConfig::default(), FEATURES, 3, 1).unwrap();
    assert!(matches!(three.probe(&mut top, &[2]), Err(AgentError::Forbidden { step: 0, action: 2 })));
}

/// Run it with `--ignored --nocapture`: milliseconds of a sampling pass and of an update.
#[test]
#[ignore = "prints times"]
fn speed() {
    for (count, steps) in [(32, 4), (32, 5), (64, 4), (64, 5)] {
        let mut agent = agent(7, 1);
        let mut envs: Vec<Lock> = (0..count).map(|_| Lock::new(&vec![1; steps])).collect();
        let (mut sampling, mut updating) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let start = std::time::Instant::now();
            let episodes = agent.sample_batch(&mut envs).unwrap();
            sampling.push(start.elapsed().as_secs_f64() * 1e3);
            let start = std::time::Instant::now();
            agent.update(&episodes).unwrap();
            updating.push(start.elapsed().as_secs_f64() * 1e3);
        }
        sampling.sort_by(f64::total_cmp);
        updating.sort_by(f64::total_cmp);
        println!(
            "{count} episodes of {steps}: sampling {:.2} ms, update {:.2} ms (medians)",
            sampling[30], updating[30]
        );
    }
}
