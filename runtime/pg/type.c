/* type.c - see type.h. */
#include "pg/type.h"

#include <stddef.h>

/* clang-format off */
/* XX(array, element): all array types of a new database but those of system
 * catalogues' rows. */
#define ARRAY_TYPE_MAP(XX)                                                   \
    XX(143, 142)   /* xml */          XX(199, 114)   /* json */              \
    XX(210, 71)    /* pg_type */      XX(271, 5069)  /* xid8 */              \
    XX(629, 628)   /* line */         XX(651, 650)   /* cidr */              \
    XX(719, 718)   /* circle */       XX(775, 774)   /* macaddr8 */          \
    XX(791, 790)   /* money */        XX(1000, 16)   /* bool */              \
    XX(1001, 17)   /* bytea */        XX(1002, 18)   /* "char" */            \
    XX(1003, 19)   /* name */         XX(1005, 21)   /* int2 */              \
    XX(1006, 22)   /* int2vector */   XX(1007, 23)   /* int4 */              \
    XX(1008, 24)   /* regproc */      XX(1009, 25)   /* text */              \
    XX(1010, 27)   /* tid */          XX(1011, 28)   /* xid */               \
    XX(1012, 29)   /* cid */          XX(1013, 30)   /* oidvector */         \
    XX(1014, 1042) /* bpchar */       XX(1015, 1043) /* varchar */           \
    XX(1016, 20)   /* int8 */         XX(1017, 600)  /* point */             \
    XX(1018, 601)  /* lseg */         XX(1019, 602)  /* path */              \
    XX(1020, 603)  /* box */          XX(1021, 700)  /* float4 */            \
    XX(1022, 701)  /* float8 */       XX(1027, 604)  /* polygon */           \
    XX(1028, 26)   /* oid */          XX(1034, 1033) /* aclitem */           \
    XX(1040, 829)  /* macaddr */      XX(1041, 869)  /* inet */              \
    XX(1115, 1114) /* timestamp */    XX(1182, 1082) /* date */              \
    XX(1183, 1083) /* time */         XX(1185, 1184) /* timestamptz */       \
    XX(1187, 1186) /* interval */     XX(1231, 1700) /* numeric */           \
    XX(1263, 2275) /* cstring */      XX(1270, 1266) /* timetz */            \
    XX(1561, 1560) /* bit */          XX(1563, 1562) /* varbit */            \
    XX(2201, 1790) /* refcursor */    XX(2207, 2202) /* regprocedure */      \
    XX(2208, 2203) /* regoper */      XX(2209, 2204) /* regoperator */       \
    XX(2210, 2205) /* regclass */     XX(2211, 2206) /* regtype */           \
    XX(2287, 2249) /* record */       XX(2949, 2970) /* txid_snapshot */     \
    XX(2951, 2950) /* uuid */         XX(3221, 3220) /* pg_lsn */            \
    XX(3643, 3614) /* tsvector */     XX(3644, 3642) /* gtsvector */         \
    XX(3645, 3615) /* tsquery */      XX(3735, 3734) /* regconfig */         \
    XX(3770, 3769) /* regdictionary */ XX(3807, 3802) /* jsonb */            \
    XX(3905, 3904) /* int4range */    XX(3907, 3906) /* numrange */          \
    XX(3909, 3908) /* tsrange */      XX(3911, 3910) /* tstzrange */         \
    XX(3913, 3912) /* daterange */    XX(3927, 3926) /* int8range */         \
    XX(4073, 4072) /* jsonpath */     XX(4090, 4089) /* regnamespace */      \
    XX(4097, 4096) /* regrole */      XX(4192, 4191) /* regcollation */      \
    XX(5039, 5038) /* pg_snapshot */  XX(6150, 4451) /* int4multirange */    \
    XX(6151, 4532) /* nummultirange */ XX(6152, 4533) /* tsmultirange */     \
    XX(6153, 4534) /* tstzmultirange */ XX(6155, 4535) /* datemultirange */  \
    XX(6157, 4536) /* int8multirange */
/* clang-format on */

uint32_t type_element(uint32_t type)
{
    switch (type) {
#define XX(array, element) \
    case array: return element;
        ARRAY_TYPE_MAP(XX)
#undef XX
    default: return 0;
    }
}
