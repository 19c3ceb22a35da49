const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** Other ways to write a signature, each of which some library takes for the same one. None is the protocol's. */
export const malleated = (signature: string): Readonly<Record<string, string>> => {
  const r = signature.slice(2, 66);
  const s = signature.slice(66, 130);
  const v = signature.slice(130);
  const odd = v === '1c';
  const highS = (ORDER - BigInt(`0x${s}`)).toString(16).padStart(64, '0');
  const yParityAndS = odd ? (BigInt(`0x${s}`) | (1n << 255n)).toString(16) : s;
  return {
    'high s with the other v': `0x${r}${highS}${odd ? '1b' : '1c'}`,
    'high s with the same v': `0x${r}${highS}${v}`,
    'the other v': `0x${r}${s}${odd ? '1b' : '1c'}`,
    'v as 0 or 1': `0x${r}${s}${odd ? '01' : '00'}`,
    'v of EIP-155': `0x${r}${s}${odd ? '26' : '25'}`,
    'EIP-2098 compact': `0x${r}${yParityAndS}`,
    'upper-case hex': `0x${signature.slice(2).toUpperCase()}`,
    'upper-case 0X': `0X${signature.slice(2)}`,
    'without 0x': signature.slice(2),
    'a byte more': `${signature}00`,
    'a byte less': signature.slice(0, -2),
    'white space after it': `${signature} `,
    's and r exchanged': `0x${s}${r}${v}`,
    empty: '',
  };
};
