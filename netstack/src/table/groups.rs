//! Which flows rules count together, for a limit on their number (`-m connlimit`).
//!
//! A group is the flows of one address or network that met one rule. A flow enters a group once its packet has survived, and
//! leaves all of its groups when it ends. So a count is there when it is asked for; Linux walks a list and looks each of its
//! connections up (net/netfilter/nf_conncount.c).

use super::{chained::Chained, flow::FlowId, multilinear};

/// What flows are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The number of the rule.
    pub rule: u32,
    /// The address, without the bits that do not count.
    pub network: u32,
}

#[derive(Clone, Copy)]
struct Counted {
    group: Group,
    flows: u32,
}

#[derive(Clone, Copy)]
struct Member {
    flow: u32,
    /// The place of its group.
    group: u32,
}

/// All groups and their members.
pub struct Groups {
    groups: Chained<Counted>,
    members: Chained<Member>,
    key: [u64; 3],
}

impl Groups {
    /// Most memberships. A flow that would be one more is taken for one too many by every rule.
    const MEMBERS: usize = 8192;

    /// No groups, and no memory for any. `random` makes the key of the hash.
    pub fn new(random: &mut dyn rand_core::Rng) -> Self {
        let key = core::array::from_fn(|_| random.next_u64());
        Self { groups: Chained::empty(), members: Chained::empty(), key }
    }

    /// Forgets all. The memory is there from now on where it is `needed`.
    pub fn reset(&mut self, needed: bool) {
        (self.groups, self.members) = match needed {
            true => (Chained::new(Self::MEMBERS), Chained::new(Self::MEMBERS)),
            false => (Chained::empty(), Chained::empty()),
        };
    }

    /// Whether no flow is in any group.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Whether no more flows can be counted.
    pub fn is_full(&self) -> bool {
        self.members.is_full()
    }

    /// The flows of a group.
    pub fn count(&self, group: Group) -> u32 {
        self.find(group).map_or(0, |place| self.groups.get(place).flows)
    }

    /// Whether a flow is in a group.
    pub fn contains(&self, group: Group, flow: FlowId) -> bool {
        let Some(place) = self.find(group) else { return false };
        let number = flow.place() as u32;
        self.members.find(spread(number), |it| it.flow == number && it.group == place).is_some()
    }

    /// A flow enters a group, unless it is in it already or there is no room.
    pub fn enter(&mut self, group: Group, flow: FlowId) {
        if self.contains(group, flow) || self.is_full() {
            return;
        }
        let hash = self.hash(group);
        let place = self.find(group).or_else(|| self.groups.insert(hash, Counted { group, flows: 0 }));
        let Some(place) = place else { return };
        let number = flow.place() as u32;
        if self.members.insert(spread(number), Member { flow: number, group: place }).is_some() {
            self.groups.get_mut(place).flows += 1;
        }
    }

    /// A flow leaves all groups that it is in.
    pub fn leave(&mut self, flow: FlowId) {
        let number = flow.place() as u32;
        while let Some(member) = self.members.remove(spread(number), |it| it.flow == number) {
            let counted = self.groups.get_mut(member.group);
            counted.flows -= 1;
            if let Counted { group, flows: 0 } = *counted {
                self.groups.remove(self.hash(group), |it| it.group == group);
            }
        }
    }

    fn find(&self, group: Group) -> Option<u32> {
        self.groups.find(self.hash(group), |it| it.group == group)
    }

    fn hash(&self, group: Group) -> u32 {
        let [k0, k1, k2] = self.key;
        (k0.wrapping_add(multilinear::pair([k1, k2], [group.rule, group.network])) >> 32) as u32
    }
}

/// Nobody outside chooses the place of a flow.
fn spread(flow: u32) -> u32 {
    flow.wrapping_mul(0x9e37_79b1)
}
