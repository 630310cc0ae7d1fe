//! The Pareto front: what is left to choose from when several costs count, and the compromise on it.

/// Numbers of the points that no other beats: none is at least as small in every cost and smaller in one. Of equal points
/// the first stays.
pub fn front(points: &[Vec<f64>]) -> Vec<usize> {
    let no_larger = |one: &[f64], other: &[f64]| one.iter().zip(other).all(|(a, b)| a <= b);
    let beaten = |index: &usize| {
        let own = &points[*index];
        let beats = |(other, point): (usize, &Vec<f64>)| no_larger(point, own) && (point != own || other < *index);
        points.iter().enumerate().any(beats)
    };
    (0..points.len()).filter(|index| !beaten(index)).collect()
}

/// Number of the point nearest to the least of every cost, each cost being measured from its least to its largest; none
/// without points. A cost in which all are alike says nothing.
pub fn knee(points: &[Vec<f64>]) -> Option<usize> {
    let costs = points.first()?.len();
    let end =
        |cost: usize, pick: fn(f64, f64) -> f64| points.iter().map(|point| point[cost]).reduce(pick).unwrap_or(0.0);
    let ends: Vec<(f64, f64)> = (0..costs).map(|cost| (end(cost, f64::min), end(cost, f64::max))).collect();
    let distance = |point: &[f64]| -> f64 {
        let scaled = point.iter().zip(&ends).map(|(cost, (least, most))| (cost - least) / (most - least).max(1e-12));
        scaled.map(|share| share * share).sum()
    };
    (0..points.len()).min_by(|&one, &other| distance(&points[one]).total_cmp(&distance(&points[other])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_front_by_hand() {
        let points: Vec<Vec<f64>> =
            [[1.0, 9.0], [2.0, 3.0], [3.0, 3.0], [2.0, 3.0], [9.0, 1.0], [9.0, 9.0]].map(Vec::from).to_vec();
        assert_eq!(front(&points), [0, 1, 4]);
        let kept: Vec<Vec<f64>> = front(&points).into_iter().map(|index| points[index].clone()).collect();
        assert_eq!(knee(&kept), Some(1));
        assert_eq!((front(&[]), knee(&[])), (vec![], None));
    }

    #[test]
    fn costs_in_which_all_are_alike_say_nothing() {
        assert_eq!(knee(&[vec![1.0, 7.0, 0.0], vec![0.5, 7.0, 0.5], vec![0.0, 7.0, 4.0]]), Some(1));
    }

    proptest! {
        #[test]
        fn every_point_is_on_the_front_or_beaten_from_it(
            points in proptest::collection::vec(proptest::collection::vec(0..6u8, 3), 1..40),
        ) {
            let points: Vec<Vec<f64>> = points.iter().map(|point| point.iter().map(|&cost| cost.into()).collect()).collect();
            let front = front(&points);
            for (index, point) in points.iter().enumerate() {
                let beaten = |&other: &usize| points[other].iter().zip(point).all(|(a, b)| a <= b);
                let on = front.contains(&index);
                prop_assert!(on || front.iter().any(beaten));
                let strictly = |&other: &usize| other != index && beaten(&other) && points[other] != *point;
                prop_assert!(!on || !front.iter().any(strictly));
            }
        }
    }
}
