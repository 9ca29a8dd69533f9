// Sigma tables, timesteps and the trajectories of the solvers.
#include "engine/request/schedule.h"
#include "engine/sampling/solver.h"
#include "tests/parity/case.h"

namespace wan::parity {
namespace {

using at::Tensor;

Schedule schedule_of(const nlohmann::json& row) {
  Request request;
  request.task = Task::T2V;
  request.solver = row.at("solver");
  request.num_inference_steps = row.at("steps");
  request.shift = row.at("shift");
  return make_schedule(request);
}

void check_table(Case& golden, const nlohmann::json& row) {
  const std::string id = row.at("id");
  const Schedule steps = schedule_of(row);
  std::vector<double> times;
  for (const Step& step : steps) times.push_back(step.t);
  golden.expect(id + ".sigmas", at::tensor(steps.sigmas()));
  golden.expect(id + ".timesteps", at::tensor(times, at::kDouble));
}

void check_trajectory(Case& golden, const nlohmann::json& row) {
  const std::string id = row.at("id");
  const int64_t start = row.at("start");
  std::vector<float> sigmas = schedule_of(row).sigmas();
  Tensor velocities = golden.input(id + ".model_output");
  Tensor first = golden.tensors.at(id + ".samples")[0];
  if (start > 0) {
    double sigma = sigmas.at(start);
    first = golden.input(id + ".clean") * (1 - sigma) + golden.input(id + ".noise") * sigma;
  }
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    Solver solver(solver_named(row.at("solver")), sigmas, start);
    std::vector<Tensor> samples = {first.to(dtype)};
    for (int64_t i = 0; i < velocities.size(0); ++i)
      samples.push_back(solver.step({velocities[i].to(dtype)}, samples.back()));
    golden.expect(id + ".samples", at::stack(samples));
  }
}

void run_case(Case& golden) {
  for (const nlohmann::json& row : golden.json["tables"]) check_table(golden, row);
  for (const nlohmann::json& row : golden.json["trajectories"]) check_trajectory(golden, row);
}

bool takes(const Case& golden) {
  return golden.json.contains("tables") && golden.json.contains("trajectories");
}

}  // namespace

const Handler kSchedulers = {"schedulers", takes, run_case};

}  // namespace wan::parity
