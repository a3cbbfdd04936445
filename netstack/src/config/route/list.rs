//! The routes in the order of `ip route`, in pieces, so that a change of one among a million moves few others.

use super::{Route, key};
use alloc::vec::Vec;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// The most routes of a piece.
const PIECE: usize = 256;

/// All routes, sorted: by network, longer prefixes first, then by metric.
#[derive(Clone, Debug)]
pub struct Routes {
    /// None of them is empty.
    pieces: Vec<Vec<Route>>,
    length: usize,
    /// What they take together, in routes of one way.
    cost: usize,
    /// The prefix lengths that there are, and perhaps some that there were: a bit for each.
    lengths: u64,
    limit: usize,
}

/// What a route takes.
fn cost(route: &Route) -> usize {
    1 + route.hops().len()
}

/// Where a route is, or would be: the piece, and the place in it.
type Place = (usize, usize);

impl Default for Routes {
    fn default() -> Self {
        Self { pieces: Vec::new(), length: 0, cost: 0, lengths: 0, limit: Self::MAX }
    }
}

impl Routes {
    /// The most routes, whatever the memory.
    pub const MAX: usize = 4 << 20;

    /// No route. There will be `limit` at most.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit: limit.min(Self::MAX), ..Self::default() }
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What they take together, in routes of one way.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// The largest cost of all tables together; that of `main` counts.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> + Clone {
        self.pieces.iter().flatten()
    }

    /// All routes to exactly this network.
    pub fn to(&self, destination: Ipv4Cidr) -> impl Iterator<Item = &Route> {
        let (piece, place) = self.find(|route| route.key() < key(destination, 0));
        let first = self.pieces.get(piece).map_or(&[][..], |piece| &piece[place..]);
        let others = self.pieces.iter().skip(piece + 1).flatten();
        first.iter().chain(others).take_while(move |route| route.destination == destination)
    }

    /// The networks around `address` that there may be routes to, the longest first.
    pub fn around(&self, address: Ipv4Address) -> impl Iterator<Item = Ipv4Cidr> {
        let lengths = (0..=32).rev().filter(|length| self.lengths & 1 << length != 0);
        lengths.map(move |length| Ipv4Cidr::new(address, length).network())
    }

    /// Adds a route, in front of those that have the same network and metric, or behind them.
    pub fn insert(&mut self, route: Route, in_front: bool) {
        self.length += 1;
        self.cost += cost(&route);
        self.lengths |= 1 << route.destination.prefix_len();
        let wanted = route.key();
        let (piece, place) = match in_front {
            true => self.find(|other| other.key() < wanted),
            false => self.find(|other| other.key() <= wanted),
        };
        // The place behind a piece is the same as that before the next one.
        let (piece, place) = match (self.pieces.get(piece), piece.checked_sub(1)) {
            (None, Some(last)) => (last, self.pieces[last].len()),
            _ => (piece, place),
        };
        match self.pieces.get_mut(piece) {
            Some(full) if full.len() == PIECE => {
                // Routes that come in order leave full pieces behind.
                let rest = full.split_off(if place == PIECE { place } else { PIECE / 2 });
                self.pieces.insert(piece + 1, rest);
                let (piece, place) = match place.checked_sub(self.pieces[piece].len()) {
                    Some(place) => (piece + 1, place),
                    None => (piece, place),
                };
                self.pieces[piece].insert(place, route);
            }
            Some(piece) => piece.insert(place, route),
            None => self.pieces.push(Vec::from([route])),
        }
    }

    /// Puts a route in the place of the first one that has the same network and metric.
    pub(super) fn replace_first(&mut self, route: Route) {
        let (piece, place) = self.find(|other| other.key() < route.key());
        if let Some(found) = self.pieces.get_mut(piece) {
            self.cost = self.cost + cost(&route) - cost(&found[place]);
            found[place] = route;
        }
    }

    /// Takes the first route to a network away that `wanted` names.
    pub fn remove_first(&mut self, destination: Ipv4Cidr, wanted: &dyn Fn(&Route) -> bool) -> Option<Route> {
        let (mut piece, mut place) = self.find(|route| route.key() < key(destination, 0));
        for route in self.to(destination) {
            if wanted(route) {
                break;
            }
            place += 1;
            if place == self.pieces[piece].len() {
                (piece, place) = (piece + 1, 0);
            }
        }
        let found = self.pieces.get_mut(piece)?;
        if !found.get(place).is_some_and(|route| route.destination == destination && wanted(route)) {
            return None;
        }
        let route = found.remove(place);
        self.length -= 1;
        self.cost -= cost(&route);
        let (left, room) = (found.len(), piece.checked_sub(1));
        match room.filter(|&before| left + self.pieces[before].len() <= PIECE / 2) {
            Some(before) => {
                let rest = self.pieces.remove(piece);
                self.pieces[before].extend(rest);
            }
            None if left == 0 => drop(self.pieces.remove(piece)),
            None => {}
        }
        Some(route)
    }

    /// Keeps the routes that `wanted` names.
    pub fn retain(&mut self, wanted: &dyn Fn(&Route) -> bool) {
        let mut kept = Self::with_limit(self.limit);
        for mut piece in core::mem::take(&mut self.pieces) {
            piece.retain(wanted);
            kept.length += piece.len();
            kept.cost += piece.iter().map(cost).sum::<usize>();
            kept.lengths |= piece.iter().fold(0, |all, route| all | 1 << route.destination.prefix_len());
            match kept.pieces.last_mut() {
                Some(last) if last.len() + piece.len() <= PIECE => last.extend(piece),
                _ if piece.is_empty() => {}
                _ => kept.pieces.push(piece),
            }
        }
        *self = kept;
    }

    /// The place of the first route that is not `before` what is looked for.
    fn find(&self, before: impl Fn(&Route) -> bool) -> Place {
        let piece = self.pieces.partition_point(|piece| piece.last().is_some_and(&before));
        let place = self.pieces.get(piece).map_or(0, |piece| piece.partition_point(&before));
        (piece, place)
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Extend<Route> for Routes {
    fn extend<I: IntoIterator<Item = Route>>(&mut self, routes: I) {
        routes.into_iter().for_each(|route| self.insert(route, false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::interface::Scope,
        config::route::{RouteKind, RouteMetrics, RouteProtocol},
        config::tests::cidr,
        test_support::property,
    };
    use proptest::prelude::*;

    fn route(destination: Ipv4Cidr, metric: u32, protocol: RouteProtocol) -> Route {
        Route {
            destination,
            kind: RouteKind::Blackhole,
            metric,
            source: None,
            scope: Scope::Global,
            protocol,
            metrics: RouteMetrics::default(),
        }
    }

    /// What Linux would do with one list.
    #[derive(Default)]
    struct Naive(Vec<Route>);

    impl Naive {
        fn insert(&mut self, route: Route, in_front: bool) {
            let before =
                |other: &Route| other.key() < route.key() || (!in_front && other.key() == route.key());
            let place = self.0.partition_point(before);
            self.0.insert(place, route);
        }
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn equals_one_sorted_list(steps in prop::collection::vec((0..400u32, 0..3u32, 0..10u8), 1..2000)) {
            use RouteProtocol::{Boot, Dhcp, Static};
            let (mut routes, mut naive) = (Routes::default(), Naive::default());
            for (network, metric, step) in steps {
                let destination = Ipv4Cidr::new(network.wrapping_mul(0x9e37_79b9).into(), 32);
                let new = |protocol| route(destination, metric, protocol);
                match step {
                    0..=5 => {
                        routes.insert(new(Boot), false);
                        naive.insert(new(Boot), false);
                    }
                    6 => {
                        routes.insert(new(Static), true);
                        naive.insert(new(Static), true);
                    }
                    7 | 8 => {
                        let wanted = |route: &Route| step == 7 || route.protocol == Static;
                        let place = naive.0.iter().position(|it| it.destination == destination && wanted(it));
                        let expected = place.map(|place| naive.0.remove(place));
                        prop_assert_eq!(routes.remove_first(destination, &wanted), expected);
                    }
                    _ => {
                        if let Some(first) = naive.0.iter_mut().find(|it| it.key() == new(Dhcp).key()) {
                            *first = new(Dhcp);
                            routes.replace_first(new(Dhcp));
                        }
                    }
                }
                    prop_assert!(naive.0.is_empty() || routes.around(destination.address()).eq([destination]));
            prop_assert!(routes.to(destination).eq(naive.0.iter().filter(|it| it.destination == destination)));
            }
            prop_assert!(routes.iter().eq(&naive.0));
            prop_assert_eq!((routes.len(), routes.cost()), (naive.0.len(), naive.0.len()));
            prop_assert!(routes.pieces.iter().all(|piece| !piece.is_empty()));
            routes.retain(&|route| route.metric > 0);
            prop_assert!(routes.iter().eq(naive.0.iter().filter(|route| route.metric > 0)));
            prop_assert_eq!(routes.len(), routes.iter().count());
        }
    }

    #[test]
    fn routes_that_come_in_order_fill_their_pieces_and_few_are_left_when_they_go() {
        let mut routes = Routes::default();
        let destinations = (0..10_000u32).map(|number| Ipv4Cidr::new((number << 8).into(), 24));
        routes.extend(destinations.clone().map(|destination| route(destination, 0, RouteProtocol::Boot)));
        assert_eq!(routes.pieces.len(), 10_000usize.div_ceil(PIECE));
        for destination in destinations.filter(|it| it.address().octets()[2] % 16 != 0) {
            routes.remove_first(destination, &|_| true).unwrap();
        }
        assert!(routes.pieces.len() < 20, "{} pieces", routes.pieces.len());
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut routes = Routes::with_limit(1);
        assert!(routes.cost() < routes.limit());
        routes.insert(route(cidr("10.0.0.0/8"), 0, RouteProtocol::Boot), false);
        assert!(routes.cost() >= routes.limit());
    }
}
