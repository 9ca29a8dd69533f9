// Registers one test for each case of the reference folder: WAN_REFERENCE, or the copy under tests/.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "kernels/op/pieces.h"
#include "tests/parity/case.h"

namespace wan::parity {
namespace {

const Handler* const kHandlers[] = {
    &kVae,
    &kTransformer,
    &kTextEncoder,
    &kRope,
    &kSchedulers,
    &kRng,
    &kImageSizes,
    &kSpeechSizes,
    &kWav2Vec2,
    &kResampling,
    &kSpeechClock,
    &kSpeechTransformer,
    &kSpeechAudioTokens,
    &kSpeechMotionTokens,
    &kSpeechSpread,
    &kTokenizer,
    &kEndToEnd,
    &kEndToEndSpeech,
};

const Handler* handler_of(const Case& golden) {
  for (const Handler* handler : kHandlers)
    if (handler->takes(golden)) return handler;
  return nullptr;
}

int g_ran = 0;

class CaseTest : public testing::Test {
 public:
  CaseTest(std::filesystem::path folder, std::string name) : folder_(std::move(folder)), name_(std::move(name)) {}
  void TestBody() override {
    Case golden(folder_, name_);
    const Handler* handler = handler_of(golden);
    if (!handler) GTEST_SKIP() << "no handler takes this case; its task is not served";
    ++g_ran;
    handler->run(golden);
    golden.expect_all_seen();
  }

 private:
  std::filesystem::path folder_;
  std::string name_;
};

}  // namespace
}  // namespace wan::parity

int main(int argc, char** argv) {
  wan::kernels::fix_order_of_sums();  // as the programs do
  testing::InitGoogleTest(&argc, argv);
  const char* set = std::getenv("WAN_REFERENCE");
  std::filesystem::path folder = set && *set ? set : WAN_SOURCE_DIR "/tests/golden";
  std::set<std::string> names;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cases", absent))
    if (entry.path().extension() == ".json") names.insert(entry.path().stem());
  for (const std::string& name : names)
    testing::RegisterTest("Parity", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [folder, name]() -> testing::Test* { return new wan::parity::CaseTest(folder, name); });
  std::cout << "reference folder: " << folder << ", " << names.size() << " cases" << std::endl;
  int result = RUN_ALL_TESTS();
  bool filtered = testing::GTEST_FLAG(list_tests) || testing::GTEST_FLAG(filter) != "*";
  if (!filtered && wan::parity::g_ran == 0) {
    std::cerr << "no case in " << folder << " could be run\n";
    return 1;
  }
  return result;
}
