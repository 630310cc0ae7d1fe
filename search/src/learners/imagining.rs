//! releq's agent: a policy that learns on a surrogate of accuracy, and asks for few real evaluations.

use std::collections::BTreeMap;

use super::world::{Actions, Judge, Pay, Rules, World};
use crate::agent::{Agent, Episode, PpoConfig};
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::rivals::{CLIMBS, climbed, is_listed, restart};
use crate::searcher::{Problem, Searcher};
use crate::seed;
use crate::surrogate::{self, Surrogate};

/// How releq's agent searches. One set for every network and objective.
#[derive(Clone, Debug, PartialEq)]
pub struct ImaginingSettings {
    /// How the policy learns; its entropy bonus is where each phase begins, and `anneal` says nothing here.
    pub ppo: PpoConfig,
    /// What the surrogate believes before it has seen anything.
    pub beliefs: surrogate::Settings,
    /// Imagined episodes before each update.
    pub episodes: usize,
    /// Updates between two evaluations.
    pub updates: usize,
    /// Weight of the entropy bonus at the last of these updates; the next evaluation's first has the full one again.
    pub calm: f64,
    /// Updates after the last evaluation, until the policy has settled on one plan.
    pub settling: usize,
    /// What an action means.
    pub actions: Actions,
    /// Whether, in a space of too many plans to list, the policy's best proposals are where climbs on the surrogate begin,
    /// and not themselves what is evaluated next.
    pub climbs: bool,
}

impl Default for ImaginingSettings {
    /// Chosen among some twenty on the authors' LeNet table, so counts on that table flatter it. Its entropy bonus is large:
    /// with half as much the policy proposes too few different plans where the optimum stands among cliffs. What learning
    /// adds to proposals at random is measured in `docs/search-race.md`.
    fn default() -> Self {
        Self {
            ppo: PpoConfig { entropy: 0.4, ..PpoConfig::default() },
            beliefs: surrogate::Settings::DEFAULT,
            episodes: 32,
            updates: 10,
            calm: 0.2,
            settling: 150,
            actions: Actions::Flexible,
            climbs: true,
        }
    }
}

/// Proximal policy optimisation on a surrogate, fitted only to plans that were really evaluated.
///
/// Between two evaluations the policy walks plans that the surrogate judges, paid by the improvement expected of them; of
/// the plans it walked, those expected to improve most are evaluated next (a random one, should all be known); in a space
/// too large to list, the tops of the hills that they, the plans evaluated best and plans of one width stand on. The policy
/// goes on from one evaluation to the next, so that it need not list the space. In the end it learns the plan of the
/// largest expected value, with the entropy bonus annealed to nothing: [`greedy`].
///
/// By the policy alone, twenty layers come to plans that lose more than uniform ones of as many bits
/// (`docs/search-race.md`).
///
/// [`greedy`]: Searcher::greedy
#[derive(Clone, Debug, Default)]
pub struct Imagining {
    settings: ImaginingSettings,
    greedy: Option<BitPlan>,
}

impl Imagining {
    /// With other settings.
    pub fn with(settings: ImaginingSettings) -> Self {
        Self { settings, greedy: None }
    }

    fn explore(
        &self,
        agent: &mut Agent,
        model: &mut Surrogate,
        rules: &Rules<'_>,
        ledger: &mut Ledger<'_>,
        seed: u64,
    ) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "learners/imagining");
        ledger.entries().iter().for_each(|entry| model.observe(&entry.plan, entry.seen.accuracy));
        let mut walked = if model.seen() == 0 {
            // The untrained policy is uniform, so the first plans are any.
            let first = walk(agent, rules, Imagined { model, ledger, aim: Aim::Value }, ledger.side_by_side())?;
            first.0.into_iter().zip(first.1.iter().map(Episode::policy)).collect()
        } else {
            let judge = Imagined { model, ledger, aim: Aim::Improvement(best_value(ledger)) };
            self.practise(agent, rules, judge, self.settings.updates, self.settings.calm)?
        };
        loop {
            let mut chosen = self.most_promising(&walked, rules.problem(), model, ledger);
            if chosen.is_empty() {
                let Some(plan) = restart(rules.problem(), ledger, &mut rng) else { return Ok(()) };
                chosen.push(plan);
            }
            let seen = ledger.look_up_all(&chosen);
            for plan in &chosen {
                let Some(seen) = ledger.known(plan) else { continue };
                model.observe(plan, seen.accuracy);
                ledger.tell(plan, vec![seen.value], walked.remove(plan).unwrap_or_default())?;
            }
            seen?;
            if ledger.remaining() == 0 {
                return Err(Stop::Exhausted);
            }
            let judge = Imagined { model, ledger, aim: Aim::Improvement(best_value(ledger)) };
            walked = self.practise(agent, rules, judge, self.settings.updates, self.settings.calm)?;
        }
    }

    /// The plans, not yet looked up, of which most improvement is expected, as many as are evaluated side by side: some of
    /// `walked`, or climbed for from there.
    ///
    /// Each but the first is chosen as if those before it had scored what the surrogate believes of them.
    fn most_promising(
        &self,
        walked: &Walked,
        problem: &Problem<'_>,
        model: &Surrogate,
        ledger: &Ledger<'_>,
    ) -> Vec<BitPlan> {
        let (mut model, mut best) = (model.clone(), best_value(ledger));
        let climbs = self.settings.climbs && model.seen() > 0 && !is_listed(problem.space);
        let mut chosen: Vec<BitPlan> = Vec::new();
        while chosen.len() < ledger.side_by_side() {
            let gain = |plan: &BitPlan| model.promise(problem.objective, plan, best);
            let new = |plan: &&BitPlan| {
                ledger.known(plan).is_none() && !chosen.contains(plan) && problem.objective.admits(plan)
            };
            let mut proposals: Vec<(f64, &BitPlan)> =
                walked.keys().filter(new).map(|plan| (gain(plan), plan)).collect();
            proposals.sort_by(|one, other| other.0.total_cmp(&one.0));
            let mut proposals = proposals.into_iter().map(|(_, plan)| plan.clone());
            let plan = match climbs {
                true => climbed(problem, ledger, &chosen, proposals.take(CLIMBS).collect(), gain),
                false => proposals.next(),
            };
            let Some(plan) = plan else { break };
            let believed = model.accuracy(&plan);
            best = best.max(problem.objective.value(&plan, believed));
            model.observe(&plan, believed);
            chosen.push(plan);
        }
        chosen
    }

    /// Improves the policy in imagination, the entropy bonus falling to `calm`, and gives all plans that it walked.
    fn practise(
        &self,
        agent: &mut Agent,
        rules: &Rules<'_>,
        judge: Imagined<'_, '_>,
        updates: usize,
        calm: f64,
    ) -> Result<Walked, Stop> {
        let full = self.settings.ppo.entropy;
        let mut walked = Walked::new();
        for update in 0..updates {
            agent.set_entropy(full + (calm - full) * (update + 1) as f64 / updates as f64);
            let (plans, mut episodes) = walk(agent, rules, judge, self.settings.episodes)?;
            judge.grade(&mut episodes);
            agent.update(&episodes)?;
            walked.extend(plans.into_iter().zip(episodes.iter().map(Episode::policy)));
        }
        Ok(walked)
    }

    /// Lets the policy settle on the plan that the surrogate values most.
    fn settle(&self, agent: &mut Agent, rules: &Rules<'_>, judge: Imagined<'_, '_>) -> Result<BitPlan, Stop> {
        self.practise(agent, rules, judge, self.settings.settling, 0.0)?;
        let mut world = World::new(rules, judge);
        agent.greedy(&mut world)?;
        Ok(world.plan())
    }
}

impl Searcher for Imagining {
    fn name(&self) -> &str {
        "ppo-surrogate"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        self.greedy = Some(problem.space.widest());
        let rules = Rules::new(problem, self.settings.actions, Pay::Whole);
        if rules.is_empty() {
            return ledger.look_up(&problem.space.widest()).map(|_| ());
        }
        let mut agent = Agent::new(self.settings.ppo.clone(), rules.features(), rules.count(), seed)?;
        ledger.tells();
        let mut model = Surrogate::of(problem, ledger, self.settings.beliefs);
        let end = self.explore(&mut agent, &mut model, &rules, ledger, seed);
        if !matches!(end, Err(Stop::Failed(_))) {
            let judge = Imagined { model: &model, ledger, aim: Aim::Value };
            self.greedy = Some(self.settle(&mut agent, &rules, judge)?);
        }
        end
    }

    fn greedy(&self) -> Option<BitPlan> {
        self.greedy.clone()
    }
}

/// Plans that the policy walked, with the chances it gave each action on the way there last.
type Walked = BTreeMap<BitPlan, Vec<Vec<f32>>>;

fn best_value(ledger: &Ledger<'_>) -> f64 {
    ledger.best().map_or(f64::NEG_INFINITY, |entry| entry.seen.value)
}

/// `count` imagined episodes side by side, and the plans they chose.
fn walk(
    agent: &mut Agent,
    rules: &Rules<'_>,
    judge: Imagined<'_, '_>,
    count: usize,
) -> Result<(Vec<BitPlan>, Vec<Episode>), Stop> {
    let mut worlds: Vec<World<'_, Imagined<'_, '_>>> = (0..count).map(|_| World::new(rules, judge)).collect();
    let episodes = agent.sample_batch(&mut worlds)?;
    Ok((worlds.iter().map(World::plan).collect(), episodes))
}

/// What an imagined plan is wanted for.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// To be evaluated next, on top of this best value.
    Improvement(f64),
    /// To be the answer.
    Value,
}

/// Judges by the surrogate; plans that were evaluated, by what they scored.
#[derive(Clone, Copy, Debug)]
struct Imagined<'m, 'a> {
    model: &'m Surrogate,
    ledger: &'m Ledger<'a>,
    aim: Aim,
}

/// Share of the largest improvement in a batch below which two plans pay alike.
const FAINT: f64 = 0.01;

impl Imagined<'_, '_> {
    /// Puts the rewards of one batch on a scale that is the same at every stage of a search.
    ///
    /// Expected improvements shrink by orders of magnitude as a search goes on: they pay by the logarithm of their share of
    /// the batch's largest. Expected values have a cliff in their midst: they pay by rank, and so does a batch in which
    /// nothing improves, by how little it falls short.
    fn grade(&self, episodes: &mut [Episode]) {
        let rewards: Vec<f64> = episodes.iter().map(Episode::total_reward).collect();
        let graded = match self.aim {
            Aim::Improvement(_) if rewards.iter().any(|&reward| reward > 0.0) => log_shares(&rewards),
            Aim::Improvement(_) | Aim::Value => ranks(&rewards),
        };
        episodes.iter_mut().zip(graded).for_each(|(episode, reward)| episode.set_terminal_reward(reward));
    }
}

fn log_shares(rewards: &[f64]) -> Vec<f64> {
    let largest = rewards.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    rewards.iter().map(|reward| (reward.max(0.0) / largest + FAINT).ln()).collect()
}

/// The share of rewards that are smaller, equal ones counting half.
fn ranks(rewards: &[f64]) -> Vec<f64> {
    let among = |count: usize| count as f64 / rewards.len() as f64;
    let rank = |reward: &f64| {
        let smaller = rewards.iter().filter(|other| *other < reward).count();
        let equal = rewards.iter().filter(|other| *other == reward).count();
        among(smaller) + among(equal) / 2.0
    };
    rewards.iter().map(rank).collect()
}

impl Judge for Imagined<'_, '_> {
    fn relative_accuracy(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        if self.model.seen() == 0 {
            return Ok(1.0);
        }
        Ok(self.ledger.objective().relative(self.model.accuracy(plan)))
    }

    fn reward(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        let objective = self.ledger.objective();
        Ok(match (self.aim, self.ledger.known(plan)) {
            // Nothing is learned from asking again.
            (Aim::Improvement(_), Some(_)) => f64::MIN,
            (Aim::Improvement(best), None) => self.model.promise(objective, plan, best),
            (Aim::Value, Some(seen)) => seen.value,
            (Aim::Value, None) => self.model.expected_value(objective, plan),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_keep_the_order_and_forget_the_scale() {
        let rewards = [0.0, 3e-9, 1e-9, 3e-9];
        assert_eq!(ranks(&rewards), [0.125, 0.75, 0.375, 0.75]);
        let graded = log_shares(&rewards);
        assert!(graded[0] < graded[2] && graded[2] < graded[1] && graded[1] == graded[3]);
        let thousandfold = log_shares(&rewards.map(|reward| 1000.0 * reward));
        assert!(graded.iter().zip(thousandfold).all(|(one, other)| (one - other).abs() < 1e-9));
        assert!(log_shares(&[0.0, 0.0]).iter().all(|reward| *reward == FAINT.ln()));
    }
}
