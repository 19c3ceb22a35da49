import { parseSnapshotDocument } from '../../config/index.ts';
import { errorText } from '../../lib/errors.ts';
import type { Publication } from '../publications.ts';
import { diffDocuments } from './diff.ts';
import { impactOf, nodeLine } from './impact.ts';
import type { Io } from './io.ts';
import type { Remote } from './remote.ts';
import { countsOf, nodesOf } from './service-view.ts';

/** Prints what a publication changes, what nodes do with it, and which: from the service's status where there is one. */
export const showPlan = async (
  next: Publication,
  current: Publication | undefined,
  remote: Remote | undefined,
  nodes: readonly string[],
  io: Io,
): Promise<void> => {
  const before = current && documentOf(current);
  const place = next.snapshot;
  const lines = diffDocuments(before ? JSON.parse(current.document) : {}, JSON.parse(next.document));
  section(
    io,
    current
      ? `changes from v${current.snapshot.version} (epoch ${current.snapshot.epoch}):`
      : 'the first configuration:',
    before ? lines : [`${lines.length} fields are new`],
    'nothing but the version',
  );
  const impact = impactOf(before, documentOf(next));
  section(io, 'each node, at once:', impact.atOnce, 'nothing is taken away');
  section(io, 'each node, when files and images are there and tested:', impact.whenReady, 'nothing is added');
  section(io, 'images that operators roll:', impact.images, 'none');
  if (!remote) return io.out('nodes: not asked, as no --to names the service');
  try {
    const counts = Object.entries(await countsOf(remote)).map(([state, n]) => `${n} ${state}`);
    io.out(`nodes: ${counts.join(', ') || 'none has registered'}`);
    const known = await nodesOf(remote, nodes);
    for (const node of known) io.out(`  ${nodeLine(node, place)}`);
    for (const id of nodes) if (!known.some((n) => n.node === id)) io.out(`  ${id}  unknown to the service`);
  } catch (error) {
    io.out(`nodes: the service could not be asked (${errorText(error)})`);
  }
};

const documentOf = (publication: Publication) => parseSnapshotDocument(Buffer.from(publication.document));

const section = (io: Io, title: string, lines: readonly string[], none: string): void => {
  io.out(title);
  for (const line of lines.length > 0 ? lines : [none]) io.out(`  ${line}`);
};
