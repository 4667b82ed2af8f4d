// A titled panel.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export function Card(props: { title: string; class?: string; aside?: ComponentChildren; children: ComponentChildren }) {
  const id = useId();
  return (
    <section class={`card ${props.class ?? ""}`} aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}
