// `wan-bench block` and `cpu`: what --acceleration regular adds to a step, beside one block of the transformer.
#pragma once

#include <functional>
#include <vector>

#include "tools/bench/networks.h"

namespace wan::bench {

/// For one guidance branch: the residual behind a computed forward, in 16 bits. Whatever is drawn is drawn now.
std::function<Tensor()> keeping(const Site& site, const Resolution& at);
/// The whole of a forward that reuses one: embedding, residual, head, and whether all is finite.
std::function<Tensor()> reusing(const Site& site, const Resolution& at);

/// Both.
std::vector<Plan> step_cache_plans(const Site& site);

}  // namespace wan::bench
