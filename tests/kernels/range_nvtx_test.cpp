// Ranges arrive where NVIDIA's profilers listen: this program is such a profiler itself (nvtxInit.h, static injection).
#include <gtest/gtest.h>

#include <string>

#include "kernels/op/range.h"

#if __has_include(<nvtx3/nvToolsExt.h>)

#define NVTX_NO_IMPL  // of a listener: types alone
#include <nvtx3/nvToolsExt.h>

namespace {

thread_local std::string seen;

int push(const char* name) {
  seen += std::string(name) + "(";
  return 0;
}
int pop() {
  seen += ")";
  return 0;
}

/// Takes the places of the two functions.
int attach(NvtxGetExportTableFunc_t tables) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned int count = 0;
  if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &count)) return 0;
  if (count <= NVTX_CBID_CORE_RangePop) return 0;
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}

}  // namespace

extern "C" {
NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr = attach;
}

namespace wan::kernels {
namespace {

TEST(RangeNvtx, AProfilerSeesNamesAndNumbers) {
  seen.clear();
  {
    const Range phase(RangeKind::Phase, "decode");
    const Range block(RangeKind::Block, "block", 7);
    const Range operation("linear", [] { return RangeWork(); });
  }
  EXPECT_EQ(seen, "decode(block 7(linear()))");
}

}  // namespace
}  // namespace wan::kernels

#else

TEST(RangeNvtx, AProfilerSeesNamesAndNumbers) {
  GTEST_SKIP() << "this machine's CUDA toolkit has no NVTX: ranges are seen by wan-bench alone";
}

#endif
