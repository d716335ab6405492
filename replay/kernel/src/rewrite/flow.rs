//! Where a body is charged: from the cost of each basic block to few charges that add up to the same.
//!
//! The blocks of a body and, per loop, of one turn of it (an inner loop counting as one step) form a graph without
//! cycles. In each such *region*
//! 1. blocks of which one runs exactly if the other does are charged together, where the first of them begins;
//! 2. what every arm of a branch costs at least is charged before the branch;
//! 3. an arm, or the code behind several arms, that costs at most the *slack* is charged at the block that decides
//!    whether it runs, as if it always ran; no block takes on more than the slack in this way (the dearest of its arms
//!    counting once), so no branch that is executed costs more than the slack too much.
//!
//! A path that ends in a trap may have paid for what it did not reach. In an asyncified module one that unwinds or rewinds may,
//! too: 1. looks at where blocks lead to while nothing does either (*quiet*), though always at all that leads to them.
//!
//! Not here: what operators cost (`weight`), the code that charges (`gas`).
//! Invariant: whoever leaves a body other than by a trap has paid the sum over the blocks it ran at least; without slack and
//! while quiet just that.

use wasmparser::Operator;

use super::weight;

/// Loops nested deeper than this are charged block by block: it keeps the work linear in the body.
const NESTING_MAX: usize = 128;

/// Where a path leaves a region.
const EXIT: u32 = u32::MAX;

/// Where charges go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charging {
    /// At each basic block, exactly its cost: the plainest there is, to compare with.
    EachBlock,
    /// Once per region where that is enough.
    Regions {
        /// Most that a branch may cost too much.
        slack: u64,
    },
}

impl Charging {
    /// What the profile prescribes.
    pub const DEFAULT: Self = Self::Regions { slack: super::GAS_SLACK };
}

/// What stands before the operator that a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Position of that operator.
    pub(super) at: u32,
    /// What is charged there.
    pub(super) cost: u64,
    /// Whether the counter is then compared with zero.
    pub(super) check: bool,
    /// Whether the local holds the counter on every way here.
    pub(super) cached: bool,
}

#[derive(Default)]
struct Block {
    at: u32,
    cost: u64,
    region: u32,
    calls: bool,
    /// Whether, while quiet, the next block in code order is where it always goes on, or never.
    quiet_next: Option<bool>,
}

struct Region {
    parent: u32,
    /// Its first block.
    head: u32,
    depth: u32,
    /// Whether some branch goes back to the head.
    repeats: bool,
    calls: bool,
}

enum Kind {
    Block,
    /// Goes back to the head of this region.
    Loop(u32),
    /// The block that decides, until `else` was seen.
    If(Option<u32>),
}

struct Label {
    kind: Kind,
    /// Blocks that go on behind its end.
    sources: Vec<u32>,
}

/// The blocks of a body, in code order, which is a topological order of all edges but those back to a loop's head.
struct Flow {
    blocks: Vec<Block>,
    regions: Vec<Region>,
    edges: Vec<(u32, u32)>,
    /// Whether a function of the guest is called.
    calls_guest: bool,
}

/// The charges of a body, in code order.
///
/// `quiet` are the branches that asyncify's state decides, and whether their condition holds while that is 0.
pub(super) fn marks(
    ops: &[(Operator<'_>, u64)],
    quiet: &[(u32, bool)],
    calls: &weight::Calls,
    charging: Charging,
) -> Vec<Mark> {
    let mut flow = Flow::of(ops, quiet, calls);
    flow.dissolve_loops_that_never_repeat();
    match charging {
        Charging::Regions { slack } if flow.regions.iter().all(|it| it.depth as usize <= NESTING_MAX) => {
            flow.merge(slack);
        }
        _ => {}
    }
    flow.marks()
}

struct Builder {
    flow: Flow,
    labels: Vec<Label>,
    region: u32,
    /// The block that is being filled; `None` in code that cannot be reached.
    block: Option<u32>,
}

impl Builder {
    fn begin(&mut self, at: usize, sources: &[u32]) {
        let block = self.flow.blocks.len() as u32;
        self.flow.blocks.push(Block { at: at as u32, region: self.region, ..Block::default() });
        self.flow.edges.extend(sources.iter().map(|source| (*source, block)));
        self.block = Some(block);
    }

    fn open(&mut self, kind: Kind) {
        self.labels.push(Label { kind, sources: Vec::new() });
    }

    fn branch(&mut self, depth: u32) {
        let Some(block) = self.block else { return };
        let Some(index) = self.labels.len().checked_sub(depth as usize + 1) else { return };
        let label = &mut self.labels[index];
        if let Kind::Loop(region) = label.kind {
            let region = &mut self.flow.regions[region as usize];
            region.repeats = true;
            self.flow.edges.push((block, region.head));
        } else if label.sources.last() != Some(&block) {
            label.sources.push(block);
        }
    }

    fn open_loop(&mut self, at: usize) {
        let Some(block) = self.block else { return self.open(Kind::Block) };
        let region = self.flow.regions.len() as u32;
        let parent = std::mem::replace(&mut self.region, region);
        self.begin(at + 1, &[block]);
        let depth = self.flow.regions[parent as usize].depth + 1;
        let head = self.flow.blocks.len() as u32 - 1;
        self.flow.regions.push(Region { parent, head, depth, repeats: false, calls: false });
        self.flow.blocks[head as usize].cost = weight::LOOP;
        self.open(Kind::Loop(region));
    }

    fn close(&mut self, at: usize) {
        let Some(mut label) = self.labels.pop() else { return };
        match label.kind {
            Kind::Loop(region) => self.region = self.flow.regions[region as usize].parent,
            Kind::If(decides) => label.sources.extend(decides),
            Kind::Block => {}
        }
        label.sources.extend(self.block.take());
        if self.labels.is_empty() {
            self.flow.edges.extend(label.sources.iter().map(|source| (*source, EXIT)));
        } else if !label.sources.is_empty() {
            self.begin(at + 1, &label.sources);
        }
    }

    fn step(&mut self, at: usize, op: &Operator<'_>) {
        match op {
            Operator::Block { .. } => self.open(Kind::Block),
            Operator::Loop { .. } => self.open_loop(at),
            Operator::If { .. } => {
                self.open(Kind::If(self.block));
                if let Some(block) = self.block {
                    self.begin(at + 1, &[block]);
                }
            }
            Operator::Else => {
                let Some(label) = self.labels.last_mut() else { return };
                label.sources.extend(self.block.take());
                if let Kind::If(decides) = &mut label.kind
                    && let Some(decides) = decides.take()
                {
                    self.begin(at + 1, &[decides]);
                }
            }
            Operator::End => self.close(at),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.block = None;
            }
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                if let Some(block) = self.block {
                    self.begin(at + 1, &[block]);
                }
            }
            Operator::BrTable { targets } => {
                let mut depths: Vec<u32> = targets.targets().flatten().chain([targets.default()]).collect();
                depths.sort_unstable();
                depths.dedup();
                for depth in depths {
                    self.branch(depth);
                }
                self.block = None;
            }
            Operator::Return => {
                self.flow.edges.extend(self.block.take().map(|block| (block, EXIT)));
            }
            Operator::Unreachable => self.block = None,
            _ => {}
        }
    }
}

impl Flow {
    fn of(ops: &[(Operator<'_>, u64)], quiet: &[(u32, bool)], calls: &weight::Calls) -> Self {
        let body = Region { parent: 0, head: 0, depth: 0, repeats: true, calls: false };
        let flow = Self { blocks: Vec::new(), regions: vec![body], edges: Vec::new(), calls_guest: false };
        let mut builder = Builder { flow, labels: Vec::new(), region: 0, block: None };
        builder.begin(0, &[]);
        builder.open(Kind::Block);
        let mut quiet = quiet.iter().peekable();
        for (at, (op, _)) in ops.iter().enumerate() {
            let decided = quiet.next_if(|(decided, _)| *decided as usize == at);
            if let Some(block) = builder.block {
                let block = &mut builder.flow.blocks[block as usize];
                block.cost += weight::of(op, calls);
                block.quiet_next = decided.map(|(_, holds)| *holds == matches!(op, Operator::If { .. }));
                let target = calls.target(op);
                block.calls |= target.is_some();
                builder.flow.calls_guest |= target == Some(weight::Target::Guest);
            }
            builder.step(at, op);
        }
        builder.flow
    }

    /// A `loop` that nothing branches to is a block.
    fn dissolve_loops_that_never_repeat(&mut self) {
        let mut becomes: Vec<u32> = Vec::with_capacity(self.regions.len());
        for (index, region) in (0..).zip(&self.regions) {
            becomes.push(if region.repeats { index } else { becomes[region.parent as usize] });
        }
        for region in &mut self.regions {
            region.parent = becomes[region.parent as usize];
        }
        for index in 1..self.regions.len() {
            self.regions[index].depth = self.regions[self.regions[index].parent as usize].depth + 1;
        }
        for block in &mut self.blocks {
            block.region = becomes[block.region as usize];
            let mut region = block.region;
            while block.calls && !self.regions[region as usize].calls {
                self.regions[region as usize].calls = true;
                region = self.regions[region as usize].parent;
            }
        }
    }

    /// Whether a block is the head of a loop that repeats.
    fn is_loop_head(&self, block: u32) -> bool {
        let region = self.blocks[block as usize].region;
        region != 0 && self.regions[region as usize].head == block
    }

    fn merge(&mut self, slack: u64) {
        for graph in self.region_graphs() {
            let mut costs: Vec<u64> =
                graph.nodes.iter().map(|node| self.blocks.get(*node as usize).map_or(0, |it| it.cost)).collect();
            graph.merge(&mut costs, slack);
            for (node, cost) in graph.nodes.iter().zip(costs) {
                if let Some(block) = self.blocks.get_mut(*node as usize) {
                    block.cost = cost;
                }
            }
        }
    }

    fn depth(&self, region: u32) -> u32 {
        self.regions[region as usize].depth
    }

    /// The node that stands for an inner loop in the graph of the region around it.
    fn loop_node(&self, region: u32) -> u32 {
        self.blocks.len() as u32 + region
    }

    fn region_graphs(&self) -> Vec<Graph> {
        let mut graphs: Vec<Graph> = self.regions.iter().map(|_| Graph::default()).collect();
        let mut places = vec![0; self.blocks.len() + self.regions.len()];
        let mut place = |region: u32, node: u32| {
            let nodes = &mut graphs[region as usize].nodes;
            places[node as usize] = nodes.len() as u32;
            nodes.push(node);
        };
        for (index, block) in (0..).zip(&self.blocks) {
            if self.is_loop_head(index) {
                place(self.regions[block.region as usize].parent, self.loop_node(block.region));
            }
            place(block.region, index);
        }
        for (from, to) in &self.edges {
            let (mut node, mut region) = (*from, self.blocks[*from as usize].region);
            let target = self.blocks.get(*to as usize).map(|block| block.region);
            let quiet = self.blocks[*from as usize].quiet_next.is_none_or(|next| next == (*to == from + 1));
            // From the inside out, until the region that holds the target too.
            while match target {
                Some(target) => target != region && self.depth(target) <= self.depth(region),
                None => region != 0,
            } {
                graphs[region as usize].edges.push((places[node as usize], EXIT, quiet));
                node = self.loop_node(region);
                region = self.regions[region as usize].parent;
            }
            let to = match target {
                None => EXIT,
                Some(target) if target != region => places[self.loop_node(target) as usize],
                Some(_) if places[*to as usize] == 0 => EXIT,
                Some(_) => places[*to as usize],
            };
            graphs[region as usize].edges.push((places[node as usize], to, quiet));
        }
        graphs
    }

    fn marks(&self) -> Vec<Mark> {
        let mut incoming = vec![true; self.blocks.len()];
        let mut marks = Vec::with_capacity(self.blocks.len());
        let mut edges = self.edges.clone();
        edges.retain(|(from, to)| *to != EXIT && from < to);
        edges.sort_unstable();
        let mut edges = edges.into_iter().peekable();
        incoming[0] = false;
        for (index, block) in (0..).zip(&self.blocks) {
            let is_head = self.is_loop_head(index);
            // Each turn of a loop reads the counter anew, which is how a step is broken off.
            let cached = !is_head && incoming[index as usize];
            let check = is_head || index == 0 && self.calls_guest;
            marks.push(Mark { at: block.at, cost: block.cost, check, cached });
            let leaves_cached = !block.calls && (cached || block.cost > 0);
            while let Some((_, to)) = edges.next_if(|(from, _)| *from == index) {
                incoming[to as usize] &= leaves_cached;
            }
        }
        marks
    }
}

/// One region without the edges back to its head: nodes in topological order, the head first.
#[derive(Default)]
struct Graph {
    /// Blocks, and beyond their number the loops inside.
    nodes: Vec<u32>,
    /// By places in `nodes`, and whether it is ever gone while quiet.
    edges: Vec<(u32, u32, bool)>,
}

impl Graph {
    /// Moves costs, given by places, to where they are charged.
    fn merge(&self, costs: &mut [u64], slack: u64) {
        let count = self.nodes.len();
        let exit = count as u32;
        let [mut next, mut quiet_next, mut before] = [(); 3].map(|()| vec![Vec::new(); count]);
        for (from, to, quiet) in &self.edges {
            next[*from as usize].push((*to).min(exit));
            if *quiet {
                quiet_next[*from as usize].push((*to).min(exit));
            }
            if let Some(before) = before.get_mut(*to as usize) {
                before.push(*from);
            }
        }
        for lists in [&mut next, &mut before] {
            for list in lists {
                list.sort_unstable();
                list.dedup();
            }
        }
        let dominators = dominators(&before);
        let after = post_dominators(&quiet_next);
        let is_live = |node: u32| after.is_known(node);
        let mut is_quiet = vec![false; count + 1];
        is_quiet[0] = true;
        for node in 0..count {
            for to in &quiet_next[node] {
                is_quiet[*to as usize] |= is_quiet[node];
            }
        }

        let mut heads: Vec<u32> = (0..exit).collect();
        for node in 1..exit {
            let above = dominators.parent(node);
            // A loop is always the only way on from the block before it, so no cost is left to a loop itself.
            let is_only_way = next[above as usize] == [node];
            if is_only_way || is_live(node) && is_live(above) && after.is_above(node, above) {
                let head = heads[above as usize];
                heads[node as usize] = head;
                costs[head as usize] += std::mem::take(&mut costs[node as usize]);
            }
        }
        let mut taken_on = vec![0_u64; count];
        for node in (0..exit).rev() {
            let is_arm = |it: &u32| *it != exit && before[*it as usize].len() == 1 && heads[*it as usize] == *it;
            let arms = &next[node as usize];
            if arms.len() > 1 && arms.iter().all(is_arm) {
                let least = arms.iter().map(|arm| costs[*arm as usize]).min().unwrap_or(0);
                for arm in arms {
                    costs[*arm as usize] -= least;
                }
                costs[heads[node as usize] as usize] += least;
            }
            let room = slack - taken_on[node as usize];
            let cheap = |it: &&u32| is_arm(it) && is_live(**it) && is_quiet[**it as usize];
            let mut dearest = 0;
            for arm in arms.iter().filter(cheap) {
                let cost = &mut costs[*arm as usize];
                if *cost <= room {
                    dearest = dearest.max(std::mem::take(cost));
                }
            }
            costs[heads[node as usize] as usize] += dearest;
            let joins = node > 0 && heads[node as usize] == node && before[node as usize].len() > 1;
            if joins && is_live(node) && is_quiet[node as usize] {
                let above = dominators.parent(node);
                if costs[node as usize] <= slack - taken_on[above as usize] {
                    let cost = std::mem::take(&mut costs[node as usize]);
                    taken_on[above as usize] += cost;
                    costs[heads[above as usize] as usize] += cost;
                }
            }
        }
    }
}

fn dominators(before: &[Vec<u32>]) -> Tree {
    let mut tree = Tree::new(before.len(), 0);
    for (node, sources) in (0..).zip(before).skip(1) {
        if let Some(parent) = sources.iter().copied().reduce(|a, b| tree.common(a, b)) {
            tree.hang(node, parent);
        }
    }
    tree
}

/// Of the nodes from which the exit, which comes behind all others, can be reached; no other is known.
fn post_dominators(next: &[Vec<u32>]) -> Tree {
    let mut tree = Tree::new(next.len() + 1, next.len() as u32);
    for node in (0..next.len() as u32).rev() {
        let targets = &next[node as usize];
        let known = targets.iter().copied().filter(|target| tree.is_known(*target));
        if let Some(parent) = known.reduce(|a, b| tree.common(a, b)) {
            tree.hang(node, parent);
        }
    }
    tree
}

/// A tree that grows at its leaves and finds common ancestors in logarithmic time.
struct Tree {
    /// Parent, a far ancestor, and depth: 0 for the root and whatever is not in the tree.
    nodes: Vec<(u32, u32, u32)>,
    root: u32,
}

impl Tree {
    fn new(count: usize, root: u32) -> Self {
        Self { nodes: vec![(root, root, 0); count], root }
    }

    fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].0
    }

    fn far(&self, node: u32) -> u32 {
        self.nodes[node as usize].1
    }

    fn depth(&self, node: u32) -> u32 {
        self.nodes[node as usize].2
    }

    fn is_known(&self, node: u32) -> bool {
        node == self.root || self.depth(node) > 0
    }

    fn hang(&mut self, node: u32, parent: u32) {
        let far = self.far(parent);
        let equal_strides = self.depth(parent) - self.depth(far) == self.depth(far) - self.depth(self.far(far));
        let far = if equal_strides { self.far(far) } else { parent };
        self.nodes[node as usize] = (parent, far, self.depth(parent) + 1);
    }

    /// Whether a node is an ancestor of another; both are known.
    fn is_above(&self, ancestor: u32, node: u32) -> bool {
        self.up_to(node, self.depth(ancestor)) == ancestor
    }

    fn up_to(&self, mut node: u32, depth: u32) -> u32 {
        while self.depth(node) > depth {
            let far = self.far(node);
            node = if self.depth(far) >= depth { far } else { self.parent(node) };
        }
        node
    }

    fn common(&self, a: u32, b: u32) -> u32 {
        let depth = self.depth(a).min(self.depth(b));
        let (mut a, mut b) = (self.up_to(a, depth), self.up_to(b, depth));
        while a != b {
            let far = (self.far(a), self.far(b));
            (a, b) = if far.0 == far.1 { (self.parent(a), self.parent(b)) } else { far };
        }
        a
    }
}
