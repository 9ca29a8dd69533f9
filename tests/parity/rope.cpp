// Rotary tables in float64 and the rotation of a grid.
#include "kernels/rope/rope.h"

#include "tests/parity/case.h"

namespace wan::parity {
namespace {

using at::Tensor;

void run_case(Case& golden) {
  Tensor rows = golden.input("freqs.position"), x = golden.input("apply.x");
  const int64_t head_dim = x.size(-1);
  kernels::Rope table = kernels::make_rope(rows.unsqueeze(1).expand({-1, 3}), head_dim, at::kCPU, at::kDouble);
  golden.expect("freqs.cos", table.cos);
  golden.expect("freqs.sin", table.sin);
  std::vector<int64_t> grid = golden.json.at("grid");
  Tensor positions = kernels::grid_positions(grid.at(0), grid.at(1), grid.at(2));
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    kernels::Rope rope = kernels::make_rope(positions, head_dim, at::kCPU, dtype);
    golden.expect("apply.out", kernels::apply_rope(x.to(dtype).unsqueeze(0), rope)[0]);
  }
}

bool takes(const Case& golden) {
  return golden.json.contains("grid") && golden.has("freqs.position");
}

}  // namespace

const Handler kRope = {"rope", takes, run_case};

}  // namespace wan::parity
