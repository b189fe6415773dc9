#include "engine/base/md5.h"

#include <catch2/catch.hpp>

using weir::hexadecimal;
using weir::md5;

// RFC 1321 appendix A.5, and sizes around the block's.
TEST_CASE("md5 is that of RFC 1321", "[base]") {
  CHECK(hexadecimal(md5("")) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hexadecimal(md5("abc")) == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hexadecimal(md5("message digest")) == "f96b697d7cb7938d525a2f31aaf161d0");
  CHECK(hexadecimal(md5("12345678901234567890123456789012345678901234567890123456789012345678901234"
                        "567890")) == "57edf4a22be3c955ac49da2e2107b67a");
  CHECK(hexadecimal(md5(std::string(55, 'a'))) == "ef1772b6dff9a122358552954ad0df65");
  CHECK(hexadecimal(md5(std::string(56, 'a'))) == "3b0c8ac703f828b04c6c197006d17218");
  CHECK(hexadecimal(md5(std::string(64, 'a'))) == "014842d480b571495a4a0363793f7367");
  CHECK(hexadecimal(md5("127.0.0.1:8080")) == "5958c386bf5e9109ac10d2a628645aea");
}
