import html

from server import PromptServer

from .schema import io, ui


def show_text(node, text):
    """Shows a text in the browser on the running node class `node`, which has the hidden input unique_id."""
    if node.hidden is not None and node.hidden.unique_id is not None:
        # The frontend shows an output's text in core's own nodes alone, and this text in every node. It takes it for
        # HTML, and </s> for a tag.
        PromptServer.instance.send_progress_text(html.escape(text, quote=False), node.hidden.unique_id)


def shown_text(node, text):
    """NodeOutput of a text that the running node class `node` shows as well."""
    show_text(node, text)
    return io.NodeOutput(text, ui=ui.PreviewText(text))
