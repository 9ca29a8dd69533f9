// Data URLs in every form that people paste, and what is told of those that are none.
#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "engine/fetch/data_url.h"
#include "tests/support.h"

namespace wan {
namespace {

std::string bytes(const std::string& url) {
  return data_url_bytes(url, "image_url");
}

TEST(DataUrl, TakesEveryFormOfBase64) {
  const std::string want("\xFB\xEF\xFE\0abc\xFF", 8);  // ++/+AGFiY/8=
  for (const char* content :
       {"++/+AGFiY/8=", "++/+AGFiY/8", "--_-AGFiY_8", "++/+\r\nAGFi\nY/8=\n",
        " ++ /+\tAGFiY/8 = ", "%2B%2b%2F%2BAGFiY/8%3D", "++/+%0AAGFiY%20/8%3d", "++/+AGFiY/8=#fragment"}) {
    EXPECT_EQ(bytes(std::string("data:image/png;base64,") + content), want) << content;
  }
  for (const char* head : {"data:;base64,", "DATA:image/PNG;charset=x;BASE64,", "data:image/png; base64 ,"}) {
    EXPECT_EQ(bytes(std::string(head) + "++/+AGFiY/8="), want) << head;
  }
  EXPECT_EQ(bytes("data:;base64,YQ=="), "a");
  EXPECT_EQ(bytes("data:;base64,YQ"), "a");
  EXPECT_EQ(bytes("data:;base64,YWI"), "ab");
  EXPECT_EQ(bytes("data:;base64,YWJj"), "abc");
}

TEST(DataUrl, TakesPlainBytes) {
  EXPECT_EQ(bytes("data:,a%20b+c d%00%ff"), std::string("a b+c d\0\xFF", 9));
  EXPECT_EQ(bytes("data:text/plain,a,b\r\nc"), "a,bc");
}

void expect_refused(const std::string& url, const std::string& word) {
  try {
    bytes(url);
    ADD_FAILURE() << url << " was read";
  } catch (const InvalidRequest& error) {
    EXPECT_EQ(error.errors.at(0).field, "image_url");
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(DataUrl, SaysWhatIsWrongAndWhere) {
  expect_refused("data:image/png;base64", "it has no comma before its content");
  expect_refused("data:;base64,", "it has no content");
  expect_refused("data:;base64, \n=", "it has no content");
  expect_refused("data:,", "it has no content");
  expect_refused("data:;base64,YWJjZ", "5 letters of base64 are no whole number of bytes; it is cut");
  expect_refused("data:;base64,YW*j", "letter 16 is '*', which is none of base64's");
  expect_refused("data:;base64,YW%2Aj", "letter 16 is '*', which is none of base64's");
  expect_refused("data:;base64,YQ==YQ==", "letter 18 is 'Y', behind the padding that ends base64");
  expect_refused("data:;base64,YW\x80j", "letter 16 is");
  expect_refused("data:,a%2", "letter 8 is % without two hexadecimal digits behind it");
  expect_refused("data:image/png;base64,YW*j", "got 'data:image/png;base64,...'");
}

// A program that decodes a URL as a form makes blanks of '+'; one that makes a line of lines makes blanks of their ends.
TEST(DataUrl, BlanksInPlaceOfPlusAreTold) {
  const std::string words = "blanks stand where base64 has '+', as after decoding a URL as a form; write + as %2B";
  expect_refused("data:;base64,AGF iY/8AAGFiY/8AGFi Y/8", words);
  expect_refused("data:;base64,AGFi Y/8AAGFiY/8AGFiY/8=", words);
  EXPECT_EQ(bytes("data:;base64,AGFi Y/8A AGFi Y/8="), bytes("data:;base64,AGFiY/8AAGFiY/8="));
  EXPECT_EQ(bytes("data:;base64, AGFiY/8A AGFiY/8A AGFi"), bytes("data:;base64,AGFiY/8AAGFiY/8AAGFi"));
  expect_refused("data:;base64,AGF  iY/8A  AGFiY/8A", words);
  expect_refused("data:;base64,AGFiY/8AAGFi  Y/8AAGFiY/8=", words);
  expect_refused("data:;base64,AGFiY/8A\r\nAG iY/8A\r\nAGFi", words);
  EXPECT_EQ(bytes("data:;base64,AGFiY/8A\r\n  AGFiY/8A \r\n  AGFi\r\n"), bytes("data:;base64,AGFiY/8AAGFiY/8AAGFi"));
  EXPECT_EQ(bytes("data:;base64,+GF iY/8AA GFiY/8A"), bytes("data:;base64,+GFiY/8AAGFiY/8A"));
}

TEST(DataUrl, TakesLongOnesAtOnce) {
  const std::string url = "data:;base64," + std::string(8 << 20, 'A');
  EXPECT_EQ(bytes(url).size(), size_t(6 << 20));
  EXPECT_EQ(bytes("data:;base64,YQ" +
                  [] {
                    std::string spaces;
                    for (int i = 0; i < (1 << 20); ++i) spaces += "%20";
                    return spaces;
                  }()),
            "a");
}

}  // namespace
}  // namespace wan
